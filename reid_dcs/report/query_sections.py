"""Report sections about queries: table, ranked lists, Grad-CAM and selected channels."""

from pathlib import Path

import numpy as np
import torch

from reid_dcs.data.decode import read_pixels
from reid_dcs.data.spaced import evenly_spaced
from reid_dcs.errors import InputError
from reid_dcs.evaluation import choose_queries, ranked_list
from reid_dcs.evaluation.match_ranks import match_positions
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import (
    Column,
    Paragraph,
    RankedImages,
    RasterFigure,
    Section,
    Table,
    Thumbnail,
    VectorFigure,
)
from reid_dcs.visual.gradcam import draw_pairs, similarity_maps
from reid_dcs.visual.windows import draw_channels, draw_windows, selections

NUM_LISTS, TOP = 4, 10  # ranked lists per section, gallery images per list
MAX_ROWS = 100  # queries in the table
NUM_PAIRS = 2  # worst and best queries shown with Grad-CAM, each
MAX_IMAGES = 64  # query images in the statistics of selected channels


def query_table(evaluation: Evaluation) -> Section:
    """One row per query, worst first, at most MAX_ROWS."""
    precision = evaluation.ranking.average_precision
    chosen = choose_queries(precision, "worst", MAX_ROWS)
    same_pid = evaluation.labels.same_pid(chosen)
    distances = evaluation.distances[torch.from_numpy(chosen)]
    match_ranks = match_positions(distances, same_pid)  # (n, P), from 1, zeros at the end
    rows = []
    for query, ranks in zip(chosen, match_ranks, strict=True):
        path, pid, camera, *_ = evaluation.dataset.query[query]
        ranks = ranks[ranks > 0]
        score = float(precision[query]), int(ranks[0]), int(np.sum(ranks <= TOP)), len(ranks)
        names = Path(path).name, evaluation.identity_name(pid), evaluation.camera_name(camera)
        rows.append((*names, *score))
    columns = [
        Column("query"),
        Column("person", "" if evaluation.dataset.identity_names else "d"),
        Column("camera"),
        Column("AP", ".1%"),
        Column("first match", ",d"),
        Column(f"in top {TOP}", "d"),
        Column("matches", ",d"),
    ]
    complete = len(rows) == evaluation.metrics["num_valid"]
    queries = "All queries" if complete else f"The {MAX_ROWS} worst queries"
    caption = (
        f"{queries}: average precision (AP), rank of the first match, number of matches in the "
        f"top {TOP} and in the whole gallery."
    )
    return Section("Queries", [Table(caption, columns, rows)])


def ranked_lists(evaluation: Evaluation, which: str) -> Section:
    """Ranked lists of the ``worst`` or ``best`` queries."""
    parts: list[RankedImages] = []
    for query in choose_queries(evaluation.ranking.average_precision, which, NUM_LISTS):
        ranked = ranked_list(
            evaluation.distances, evaluation.labels, evaluation.ranking, int(query), TOP
        )
        gallery = [
            Thumbnail(evaluation.image_path("gallery", image), f"{distance:.3f}", bool(match))
            for image, distance, match in zip(*ranked[1:4], strict=True)
        ]
        path = evaluation.image_path("query", query)
        caption = f"{Path(path).name}: average precision {ranked.average_precision:.1%}."
        parts.append(RankedImages(caption, Thumbnail(path, "query"), gallery))
    legend = (
        f"Each query with its {TOP} nearest gallery images and their distances: ✓ same person, "
        "✗ different person."
    )
    return Section(f"{which.capitalize()} queries", [Paragraph(legend), *parts])


def similarity(evaluation: Evaluation) -> Section:
    """Grad-CAM of the similarity between queries and their nearest gallery images."""
    title, precision = "Image similarity", evaluation.ranking.average_precision
    queries = [
        int(query)
        for which in ("worst", "best")
        for query in choose_queries(precision, which, NUM_PAIRS)
    ]
    nearest = [
        ranked_list(evaluation.distances, evaluation.labels, evaluation.ranking, query, 1)
        for query in queries
    ]
    query_paths = [evaluation.image_path("query", query) for query in queries]
    gallery_paths = [evaluation.image_path("gallery", int(top.gallery[0])) for top in nearest]
    query_inputs = evaluation.inputs(query_paths)
    gallery_inputs = evaluation.inputs(gallery_paths)
    model = evaluation.model
    with torch.no_grad():
        query_features, gallery_features = model(query_inputs), model(gallery_inputs)
    try:
        query_maps, cosines = similarity_maps(model, query_inputs, gallery_features)
        gallery_maps, _ = similarity_maps(model, gallery_inputs, query_features)
    except InputError as error:
        return Section(title, [Paragraph(f"Not available: {error}.")])
    notes = [
        f"{'same' if top.matches[0] else 'different'} person\nsimilarity {cosine:.2f}"
        for top, cosine in zip(nearest, cosines, strict=True)
    ]
    figure = draw_pairs(
        [*zip(map(read_pixels, query_paths), query_maps, strict=True)],
        [*zip(map(read_pixels, gallery_paths), gallery_maps, strict=True)],
        ("query", "nearest"),
        notes,
    )
    legend = (
        "Grad-CAM of the cosine similarity between a query and its nearest gallery image, for the "
        f"{NUM_PAIRS} worst and the {NUM_PAIRS} best queries. Red regions contribute most."
    )
    return Section(
        title, [Paragraph(legend), RasterFigure("Similarity maps.", figure, "; ".join(notes))]
    )


def channels(evaluation: Evaluation) -> Section:
    """Channels selected by the attention blocks over evenly spaced query images."""
    title = "Selected channels"
    chosen = evenly_spaced(len(evaluation.dataset.query), MAX_IMAGES)
    paths = [evaluation.image_path("query", query) for query in chosen.tolist()]
    images = evaluation.inputs(paths)
    try:
        blocks = selections(evaluation.model, [images])
    except InputError:
        return Section(title, [Paragraph("None: the network has no attention.")])
    shares = ", ".join(f"{block.selected.mean():.0%}" for block in blocks)
    return Section(
        title,
        [
            Paragraph(f"Share of the channels that a position selects, by stage: {shares}."),
            RasterFigure(
                "Windows of each position of one image, one row per attention block: mean start, "
                "mean length and size of the union, as shares of the channels.",
                draw_windows(read_pixels(paths[0]), blocks),
                "A query image, and maps of its windows",
            ),
            VectorFigure(
                "Mean weight of each channel, and selected share by depth, over "
                f"{len(paths)} queries.",
                draw_channels(blocks),
                f"Channel weights by stage; selected shares: {shares}",
            ),
        ],
    )
