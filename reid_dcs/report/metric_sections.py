"""Report sections with the numbers of Re-ID: results, training, cameras, worth."""

from reid_dcs.attention import SUBSTITUTIONS
from reid_dcs.evaluation import camera_pairs
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import Column, Paragraph, Section, Table, VectorFigure
from reid_dcs.visual.cmc import cmc_figure
from reid_dcs.visual.curves import curve_figures

_METRICS = {
    "mAP": "mean average precision over the queries",
    "rank1": "share of queries whose nearest gallery image is a match",
    "rank5": "share of queries with a match in the first 5",
    "rank10": "share of queries with a match in the first 10",
    "mINP": "number of matches over the rank of the last match, mean over the queries",
}


def results(evaluation: Evaluation) -> Section:
    """Metrics and the CMC curve."""
    columns = [Column("metric"), Column("value", ".1%"), Column("description")]
    rows = [(name, evaluation.metrics[name], text) for name, text in _METRICS.items()]
    result = evaluation.ranking.summary()
    num_query = evaluation.metrics["num_query"]
    valid = f"{result.num_valid:,} of {num_query:,} queries have a match in the gallery"
    values = ", ".join(f"rank {k} {value:.0%}" for k, value in enumerate(result.cmc[:10], 1))
    caption = "CMC: share of queries with a match in the first k gallery images, against k."
    return Section(
        "Results",
        [
            Table(f"Metrics over all queries; {valid}.", columns, rows),
            VectorFigure(caption, cmc_figure(result), f"CMC curve: {values}"),
        ],
    )


def training(evaluation: Evaluation) -> Section | None:
    """Training curves; None if the weights have no training history."""
    history, dataset = evaluation.history, evaluation.metrics["trained_on"]
    if not history:
        return None
    losses, scores = curve_figures(history)
    trained = f"The weights were trained for {len(history)} epochs"
    last_loss = (
        f": identity loss {history[-1]['identity']:.2f} in the last epoch"
        if "identity" in history[-1]
        else ""
    )
    return Section(
        "Training",
        [
            Paragraph(f"{trained} on {dataset}." if dataset else f"{trained}."),
            VectorFigure("Losses by epoch.", losses, f"Curves of the losses by epoch{last_loss}"),
            VectorFigure(
                "Accuracy on the training identities, and evaluations during training, by epoch.",
                scores,
                "Curves of training accuracy, rank-1 and mAP by epoch",
            ),
        ],
    )


def cameras(evaluation: Evaluation) -> Section | None:
    """mAP and rank-1 for each pair of cameras; None if the data set has no camera labels."""
    if not evaluation.dataset.cameras_known:
        return None
    rule = evaluation.config.eval.average_precision
    pairs = camera_pairs(evaluation.distances, evaluation.labels, rule)
    columns = [
        Column("query camera"),
        Column("gallery camera"),
        Column("queries", ",d"),
        Column("mAP", ".1%"),
        Column("rank-1", ".1%"),
    ]
    name = evaluation.camera_name
    rows = [
        (name(pair.query_camera), name(pair.gallery_camera), pair.num_valid, pair.mAP, pair.rank1)
        for pair in pairs
    ]
    caption = "Queries of one camera against the gallery images of one other camera."
    return Section("Camera pairs", [Table(caption, columns, rows)])


def worth(evaluation: Evaluation) -> Section | None:
    """Metrics with the windows replaced; None if they were not measured."""
    if not evaluation.worth:
        return None
    titles = {"as_trained": "as trained"} | SUBSTITUTIONS
    columns = [Column("windows")]
    for name in ("mAP", "rank-1", "mINP"):
        columns += [Column(name, ".2f"), Column("Δ", "+z.2f")]
    reference, rows = evaluation.worth["as_trained"], []
    for row, metrics in evaluation.worth.items():
        cells: list[str | float | None] = [titles[row]]
        for name in ("mAP", "rank1", "mINP"):
            change = 100 * (metrics[name] - reference[name])
            cells += [100 * metrics[name], None if row == "as_trained" else change]
        rows.append(cells)
    caption = (
        "The same network and images with the windows replaced, in per cent. Δ is the difference "
        f"from the network as trained, in points. Seed {evaluation.config.seed}."
    )
    reading = (
        "A row that is as good as the network as trained shows that the results do not depend on "
        "what it replaces: on the selection of channels, on where windows are, or on the attention "
        "as a whole."
    )
    return Section(
        "What the windows are worth", [Paragraph(reading), Table(caption, columns, rows)]
    )
