"""The page of an evaluation: accuracies, classes, confusions, cost, reproducibility."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from reid_dcs.report import run_sections
from reid_dcs.report.page import (
    Column,
    Paragraph,
    Report,
    Section,
    Table,
    VectorFigure,
    write_report,
)
from reid_dcs.tasks.classification.metrics import Predictions, worst_confusions
from reid_dcs.tasks.classification.settings import ClassifyEvaluateRun
from reid_dcs.tasks.classification.sources import LabelledImages
from reid_dcs.visual.curves import History, curve_figures
from reid_dcs.visual.text import plain_text
from reid_dcs.weights import ModelCard

WORST = 12  # classes of the figure of confusions


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        config: its settings.
        card: description of the weights.
        model: evaluated network.
        metrics: content of ``metrics.json``.
        history: of the training, one entry an epoch; empty if the weights have none.
        predictions: for all images.
        images: the images.
    """

    config: ClassifyEvaluateRun
    card: ModelCard
    model: nn.Module
    metrics: Mapping[str, Any]
    history: History
    predictions: Predictions
    images: LabelledImages

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of an input image."""
        return 3, self.card.preprocessing.height, self.card.preprocessing.width


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write ``report.html``; measures the speed of the network on its device."""
    metrics = evaluation.metrics
    height, width = evaluation.input_size[1:]
    summary = (
        f"Top-1 {metrics['top1']:.1%} and top-5 {metrics['top5']:.1%}: {metrics['num_images']:,} "
        f"images of {metrics['num_classes']} classes at {height} × {width} pixels."
    )
    sections = [
        _training(evaluation),
        _classes(evaluation),
        _confusions(evaluation),
        run_sections.cost(evaluation),
        run_sections.reproducibility(evaluation),
    ]
    title = f"{evaluation.card.model} on {metrics['dataset']}"
    report = Report(title, [Paragraph(summary)], [section for section in sections if section])
    write_report(report, path)


def _training(evaluation: Evaluation) -> Section | None:
    if not evaluation.history:
        return None
    losses, scores = curve_figures(evaluation.history)
    epochs = len(evaluation.history)
    return Section(
        "Training",
        [
            Paragraph(
                f"The weights were trained for {epochs} epochs on {evaluation.card.trained_on}."
            ),
            VectorFigure("Losses by epoch.", losses, "Curves of the losses by epoch"),
            VectorFigure(
                "Accuracy in training, and evaluations during training, by epoch.",
                scores,
                "Curves of training accuracy and top-1 by epoch",
            ),
        ],
    )


def _classes(evaluation: Evaluation) -> Section:
    predictions, names = evaluation.predictions, evaluation.images.classes
    confusion = predictions.confusion()
    accuracies, counts = predictions.class_accuracies().tolist(), confusion.sum(1).tolist()
    taken = confusion.sum(0).tolist()
    rows = [
        (name, count, None if accuracy != accuracy else accuracy, as_it)
        for name, count, accuracy, as_it in zip(names, counts, accuracies, taken, strict=True)
    ]
    columns = [
        Column("class"),
        Column("images", ",d"),
        Column("top-1", ".1%"),
        Column("predicted", ",d"),
    ]
    caption = "Images of each class, the share that is recognized, and how often it is predicted."
    return Section("Classes", [Table(caption, columns, rows)])


def _confusions(evaluation: Evaluation) -> Section | None:
    """The most frequent mistakes, and the confusion matrix of the classes with most of them."""
    confusion, names = evaluation.predictions.confusion(), evaluation.images.classes
    mistakes = worst_confusions(confusion)
    if not mistakes:
        return None
    totals = confusion.sum(1).tolist()
    rows = [
        (names[true], names[found], count, count / totals[true]) for true, found, count in mistakes
    ]
    columns = [
        Column("class"),
        Column("taken for"),
        Column("images", ",d"),
        Column("share of the class", ".1%"),
    ]
    return Section(
        "Confusions",
        [
            Table("The most frequent mistakes.", columns, rows),
            VectorFigure(
                "Images of the classes with most mistakes (rows) by predicted class (columns).",
                _confusion_figure(evaluation),
                "Confusion matrix of the classes with most mistakes",
            ),
        ],
    )


def _confusion_figure(evaluation: Evaluation) -> Figure:
    confusion, names = evaluation.predictions.confusion(), evaluation.images.classes
    mistakes = confusion.sum(1) - confusion.diagonal()
    count = min(WORST, len(names))
    chosen = mistakes.argsort(descending=True, stable=True)[:count].sort().values
    part = confusion[chosen][:, chosen]
    shares = part / part.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(0.5 * count + 2, 0.4 * count + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.pcolormesh(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    labels = [plain_text(names[i]) for i in chosen.tolist()]
    ticks = [i + 0.5 for i in range(count)]
    axes.set_xticks(ticks, labels, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(ticks, labels, fontsize=7)
    for row in range(count):
        for column in range(count):
            if number := int(part[row, column]):
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    str(number),
                    color=color,
                    fontsize=6,
                    ha="center",
                    va="center",
                )
    return figure
