"""The sections that look at queries: what each found, why, and by which channels."""

from pathlib import Path

import numpy as np
import torch

from reid_dcs.data.decode import read_pixels
from reid_dcs.errors import InputError
from reid_dcs.evaluation import choose_queries, ranked_list
from reid_dcs.evaluation.match_ranks import match_positions
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import (
    Column,
    Drawing,
    Paragraph,
    Photograph,
    RankedShots,
    Section,
    Shot,
    Table,
)
from reid_dcs.visual.gradcam import draw_pairs, similarity_maps
from reid_dcs.visual.windows import draw_channels, draw_windows, selections

LISTS, RANKS = 4, 10  # ranked lists of the best and of the worst queries, and their length
ROWS = 100  # queries in a table
PAIRS = 2  # of the worst queries and of the best, and what they found first
CALIBRATION = 64  # queries whose windows are looked at


def table(done: Evaluation) -> Section:
    """A row for each query, of the worst where there are many."""
    precision = done.ranking.average_precision
    chosen = choose_queries(precision, "worst", ROWS)
    relatives = done.labels.same_pid(chosen)
    positions = match_positions(done.distances[torch.from_numpy(chosen)], relatives)  # (n, P)
    rows = []
    for query, own in zip(chosen, positions, strict=True):
        path, pid, camera, *_ = done.dataset.query[query]
        hits, matches = int(np.sum((own > 0) & (own <= RANKS))), int(np.sum(own > 0))
        score = float(precision[query]), int(own[0]), hits, matches
        rows.append((Path(path).name, pid, camera + 1, *score))
    columns = [
        Column("query"),
        Column("person", "d"),
        Column("camera", "d"),
        Column("AP", ".1%"),
        Column("first match", ",d"),
        Column(f"in first {RANKS}", "d"),
        Column("matches", ",d"),
    ]
    which = "All queries" if len(rows) == done.metrics["num_valid"] else f"The {ROWS} worst queries"
    caption = (
        f"{which}: average precision, rank of the first match, matches in the first {RANKS} and "
        "in the whole gallery."
    )
    return Section("Query by query", [Table(caption, columns, rows)])


def lists(done: Evaluation, which: str) -> Section:
    parts: list[RankedShots] = []
    for query in choose_queries(done.ranking.average_precision, which, LISTS):
        found = ranked_list(done.distances, done.labels, done.ranking, int(query), RANKS)
        shots = [
            Shot(done.photograph("gallery", image), f"{distance:.3f}", bool(match))
            for image, distance, match in zip(*found[1:4], strict=True)
        ]
        asked = done.photograph("query", query)
        caption = f"{Path(asked).name}: average precision {found.average_precision:.1%}."
        parts.append(RankedShots(caption, Shot(asked, "query"), shots))
    said = (
        "The query, then what was found, nearest first, with its distance: ✓ the same person, "
        "✗ another."
    )
    return Section(f"The {which} queries", [Paragraph(said), *parts])


def sight(done: Evaluation) -> Section:
    """Grad-CAM of queries and of what they found first, each for its similarity to the other."""
    precision, title = done.ranking.average_precision, "What makes two images alike"
    chosen = [int(own) for w in ("worst", "best") for own in choose_queries(precision, w, PAIRS)]
    lists = [ranked_list(done.distances, done.labels, done.ranking, own, 1) for own in chosen]
    asked = [done.photograph("query", own) for own in chosen]
    found = [done.photograph("gallery", int(own.gallery[0])) for own in lists]
    query, gallery = done.inputs(asked), done.inputs(found)
    with torch.no_grad():
        features = done.model(query), done.model(gallery)
    try:
        first, cosines = similarity_maps(done.model, query, features[1])
        second, _ = similarity_maps(done.model, gallery, features[0])
    except InputError as error:
        return Section(title, [Paragraph(f"No pictures: {error}.")])
    notes = [
        f"{'the same' if own.matches[0] else 'another'} person\nsimilarity {cosine:.2f}"
        for own, cosine in zip(lists, cosines, strict=True)
    ]
    pairs = [
        [*zip(map(read_pixels, files), maps, strict=True)]
        for files, maps in ((asked, first), (found, second))
    ]
    said = (
        f"Grad-CAM of the similarity of a query and the image that it found first, for the {PAIRS} "
        f"worst queries and the {PAIRS} best: red is what speaks most for it."
    )
    figure = draw_pairs(*pairs, ("query", "found first"), notes)
    return Section(title, [Paragraph(said), Photograph("Similarities.", figure, " ".join(notes))])


def channels(done: Evaluation) -> Section:
    title, count = "Which channels are selected", min(CALIBRATION, len(done.dataset.query))
    chosen = np.linspace(0, len(done.dataset.query) - 1, count).round().astype(int)
    files = [done.photograph("query", own) for own in chosen]
    try:
        found = selections(done.model, [done.inputs(files)])
    except InputError:
        return Section(title, [Paragraph("None: the network has no attention.")])
    shares = ", ".join(f"{own.selected.mean():.0%}" for own in found)
    return Section(
        title,
        [
            Paragraph(f"Share of the channels that a position selects, stage by stage: {shares}."),
            Photograph(
                "Start, length and union of the windows of each position, as shares of the "
                "channels: a row for each attention block.",
                draw_windows(read_pixels(files[0]), found),
                "A query image, and maps of its windows",
            ),
            Drawing(
                f"How much each channel is selected, and the share by depth; {count} queries.",
                draw_channels(found),
                f"Channels by stage; shares selected: {shares}",
            ),
        ],
    )
