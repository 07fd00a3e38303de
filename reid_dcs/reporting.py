"""What a report of an evaluation says, section by section; visual/report.py sets it as a page."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import nn

from reid_dcs.config import Config
from reid_dcs.data.augment import normalise
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.decode import read_images, read_pixels
from reid_dcs.engine.curves import History, curve_figures
from reid_dcs.engine.device import device_name
from reid_dcs.engine.precision import Precision
from reid_dcs.errors import InputError
from reid_dcs.evaluating import departures
from reid_dcs.evaluation import Labels, Ranking, camera_pairs, choose_queries, ranked_list
from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.positions import match_positions
from reid_dcs.models.complexity import complexity
from reid_dcs.models.speed import images_a_second
from reid_dcs.output import environment
from reid_dcs.visual.cmc import cmc_figure
from reid_dcs.visual.gradcam import draw_pairs, similarity_maps
from reid_dcs.visual.report import (
    Column,
    Drawing,
    Paragraph,
    Photograph,
    RankedShots,
    Report,
    Section,
    Shot,
    Table,
    Verbatim,
    write_report,
)
from reid_dcs.visual.windows import draw_channels, draw_windows, selections

LISTS, RANKS = 4, 10  # ranked lists of the best and of the worst queries, and their length
ROWS = 100  # queries in a table
PAIRS = 2  # of the worst queries and of the best, and what they found first
CALIBRATION = 64  # queries whose windows are looked at
BATCH = 32  # images at a time where speed is measured

_MEASURES = {
    "mAP": "mean average precision over the queries",
    "rank1": "share of queries whose nearest image is a match",
    "rank5": "share with a match in the first five",
    "rank10": "share with a match in the first ten",
    "mINP": "mean of matches over the rank of the last of them",
}


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is done.

    Attributes:
        metrics: as in ``metrics.json``.
        history: of the training, an entry an epoch; empty where the weights do not tell.
        ranking, distances, labels: of all queries.
    """

    config: Config
    dataset: ListedDataset
    model: nn.Module
    metrics: Mapping[str, Any]
    history: History
    ranking: Ranking
    distances: Rows
    labels: Labels

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def input_size(self) -> tuple[int, int, int]:
        return 3, self.config.data.height, self.config.data.width

    def inputs(self, files: Sequence[str]) -> torch.Tensor:
        """What the network takes of images, (B, 3, H, W)."""
        pixels = np.stack([*read_images(files, *self.input_size[1:], "images")])
        return normalise(torch.from_numpy(pixels).to(self.device))

    def photograph(self, split: str, image: int) -> str:
        """The file of a query or a gallery image."""
        return getattr(self.dataset, split)[image][0]


def report_evaluation(done: Evaluation, output: Path) -> None:
    """Write ``report.html``: results, what was found and what was not, costs, how it was made.

    The speed of the network is measured now.

    Raises:
        InputError: a photograph cannot be read, or the page cannot be written.
    """
    sections = [
        _results(done),
        _training(done),
        _cameras(done),
        _queries(done),
        _lists(done, "worst"),
        _lists(done, "best"),
        _sight(done),
        _channels(done),
        _cost(done),
        _making(done),
    ]
    title = f"{done.config.model.name} on {_title(done)}"
    report = Report(title, _abstract(done), [section for section in sections if section])
    write_report(report, output / "report.html")


def _title(done: Evaluation) -> str:
    titles = {"synthetic": "generated people", "folder": "a set of one's own"}
    return titles.get(done.config.data.name, done.dataset.title)


def _abstract(done: Evaluation) -> list[Paragraph]:
    metrics, name = done.metrics, done.config.data.name
    height, width = done.input_size[1:]
    said = [
        f"mAP {metrics['mAP']:.1%} and rank-1 {metrics['rank1']:.1%}: {metrics['num_query']:,} "
        f"queries against {metrics['num_gallery']:,} gallery images of {height} × {width} "
        f"pixels, by {metrics['metric']} distance."
    ]
    warnings = departures(metrics, name)
    if done.dataset.unofficial:
        warnings.append(f"not the official split: {done.dataset.unofficial}")
    if not done.dataset.cameras_known:
        warnings.append("no cameras are known: a query may find its own camera's images")
    if terms := done.dataset.terms:
        warnings.append(
            f"This page shows photographs of people from {done.dataset.title}, whose terms are: "
            f"{terms}. Do not pass the page on where they do not allow it."
        )
    return [*map(Paragraph, said), *(Paragraph(_sentence(text), True) for text in warnings)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _results(done: Evaluation) -> Section:
    columns = [Column("measure"), Column("value", ".1%"), Column("what it is")]
    rows = [(name, done.metrics[name], meaning) for name, meaning in _MEASURES.items()]
    result = done.ranking.summary()
    valid = f"{result.num_valid:,} of {done.metrics['num_query']:,} queries have a match"
    alt = ", ".join(f"rank {k} {value:.0%}" for k, value in enumerate(result.cmc[:10], 1))
    caption = "Share of queries with a match in the first k (CMC), over k."
    return Section(
        "Results",
        [
            Table(f"The whole evaluation; {valid}.", columns, rows),
            Drawing(caption, cmc_figure(result), f"CMC curve: {alt}"),
        ],
    )


def _training(done: Evaluation) -> Section | None:
    if not done.history:
        return None
    losses, scores = curve_figures(done.history)
    last = done.history[-1]
    said = f"The weights come from a training of {len(done.history)} epochs"
    trained_on = done.metrics["trained_on"]
    said += f" on {trained_on}." if trained_on else "."
    identity = (
        f"identity loss, {last['identity']:.2f} in the last epoch" if "identity" in last else ""
    )
    return Section(
        "Training",
        [
            Paragraph(said),
            Drawing("Losses by epoch.", losses, f"Curves of the losses by epoch. {identity}"),
            Drawing("Accuracy on training identities, and evaluations, by epoch.", scores, ""),
        ],
    )


def _cameras(done: Evaluation) -> Section | None:
    if not done.dataset.cameras_known:
        return None
    pairs = camera_pairs(done.distances, done.labels, done.config.eval.average_precision)
    columns = [
        Column("query camera", "d"),
        Column("gallery camera", "d"),
        Column("queries", ",d"),
        Column("mAP", ".1%"),
        Column("rank-1", ".1%"),
    ]
    rows = [(query + 1, gallery + 1, *rest) for query, gallery, *rest in pairs]
    caption = "Each camera's queries against each other camera's gallery alone."
    return Section("From camera to camera", [Table(caption, columns, rows)])


def _queries(done: Evaluation) -> Section:
    """A row for each query, of the worst where there are many."""
    precision = done.ranking.average_precision
    chosen = choose_queries(precision, "worst", ROWS)
    relatives = done.labels.relatives(chosen)
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


def _lists(done: Evaluation, which: str) -> Section:
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


def _sight(done: Evaluation) -> Section:
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


def _channels(done: Evaluation) -> Section:
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


def _cost(done: Evaluation) -> Section:
    cost = complexity(done.model, done.input_size)
    dtype = Precision(done.config.eval.precision, done.device).dtype
    speed = images_a_second(done.model, done.input_size, BATCH, dtype)
    columns = [Column("quantity"), Column("value", ",.4g"), Column("unit"), Column("what it is")]
    rows = [
        ("parameters", cost.params / 1e6, "M", "trunk and attention, without the classifier"),
        ("convolutions", cost.conv_macs / 1e9, "G", "multiply-adds of an image"),
        ("multiply-adds", cost.total_macs / 1e9, "G", "with linear layers and affinity products"),
        ("paper_flops", cost.paper_flops / 1e9, "G", "as the paper's Table 1 counts"),
        ("speed", speed, "images/s", f"batches of {BATCH}, decoded, {str(dtype).split('.')[1]}"),
    ]
    where = device_name(done.device)
    if done.device.type == "cpu":
        where += f", {torch.get_num_threads()} thread(s)"
    caption = f"What a feature costs at {done.input_size[1]} × {done.input_size[2]}, on {where}."
    return Section("Cost", [Table(caption, columns, rows)])


def _making(done: Evaluation) -> Section:
    said = environment(done.device)
    versions = {"reid_dcs": said["reid_dcs"], "python": said["python"], **said["packages"]}
    return Section(
        "How it was made",
        [
            Verbatim("The command:", shlex.join(["python", *said["command"]])),
            Table("Versions.", [Column("package"), Column("version")], list(versions.items())),
            Verbatim(
                "Every setting:", OmegaConf.to_yaml(OmegaConf.structured(done.config)).strip()
            ),
        ],
    )
