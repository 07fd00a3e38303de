"""The sections of figures: results, training, cost, and how it was made."""

import shlex

import torch

from reid_dcs.config import to_yaml
from reid_dcs.evaluation import camera_pairs
from reid_dcs.models.complexity import complexity
from reid_dcs.models.speed import images_per_second
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import Column, Drawing, Paragraph, Section, Table, Verbatim
from reid_dcs.runtime.device import device_name
from reid_dcs.runtime.environment import environment
from reid_dcs.runtime.precision import Precision
from reid_dcs.visual.cmc import cmc_figure
from reid_dcs.visual.curves import curve_figures

BATCH = 32  # images at a time where speed is measured

_MEASURES = {
    "mAP": "mean average precision over the queries",
    "rank1": "share of queries whose nearest image is a match",
    "rank5": "share with a match in the first five",
    "rank10": "share with a match in the first ten",
    "mINP": "mean of matches over the rank of the last of them",
}


def results(done: Evaluation) -> Section:
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


def training(done: Evaluation) -> Section | None:
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


def cameras(done: Evaluation) -> Section | None:
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


def cost(done: Evaluation) -> Section:
    cost = complexity(done.model, done.input_size)
    dtype = Precision(done.config.eval.precision, done.device).dtype
    speed = images_per_second(done.model, done.input_size, BATCH, dtype)
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


def making(done: Evaluation) -> Section:
    said = environment(done.device)
    versions = {"reid_dcs": said["reid_dcs"], "python": said["python"], **said["packages"]}
    return Section(
        "How it was made",
        [
            Verbatim("The command:", shlex.join(["python", *said["command"]])),
            Table("Versions.", [Column("package"), Column("version")], list(versions.items())),
            Verbatim("Every setting:", to_yaml(done.config).strip()),
        ],
    )
