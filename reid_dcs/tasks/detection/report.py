"""Page of an evaluation of a detector: AP by size and class, images with what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from reid_dcs.data.spaced import evenly_spaced
from reid_dcs.report import run_sections
from reid_dcs.report.page import (
    Column,
    Paragraph,
    RasterFigure,
    Report,
    Section,
    Table,
    write_report,
)
from reid_dcs.runtime.hooks import weight_of
from reid_dcs.tasks.detection.data.annotations import AnnotatedImage, Annotations
from reid_dcs.tasks.detection.data.batches import load_image, load_target
from reid_dcs.tasks.detection.drawing import draw_detections
from reid_dcs.tasks.detection.evaluation import detect_image
from reid_dcs.tasks.detection.results import COLUMNS, percent
from reid_dcs.tasks.detection.settings import DetectEvaluateRun
from reid_dcs.tasks.detection.trained import TrainedDetector

SHOWN = 6  # images, spread evenly over the split
SCORE = 0.5  # lowest of the detections that are drawn


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        config: its settings.
        trained: the detector and its description.
        annotations: what was to be found.
        metrics: content of ``metrics.json``.
    """

    config: DetectEvaluateRun
    trained: TrainedDetector
    annotations: Annotations
    metrics: Mapping[str, Any]

    @property
    def model(self) -> nn.Module:
        return self.trained.detector

    @property
    def device(self) -> torch.device:
        return weight_of(self.model).device

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, shorter side, limit of the longer side) of a resized image."""
        return 3, self.trained.card.preprocessing.height, self.trained.card.preprocessing.width


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write ``report.html``; detects the objects of a few images again, to draw them.

    Raises:
        InputError: an image cannot be read, or the page cannot be written.
    """
    metrics = evaluation.metrics
    title = f"{evaluation.trained.card.model} on {metrics['dataset']}"
    summary = (
        f"Box AP {percent(metrics['box_AP'])} and mask AP {percent(metrics['mask_AP'])}: "
        f"{metrics['num_objects']:,} objects in {metrics['num_images']:,} images of the split "
        f"{metrics['split']}, by pycocotools."
    )
    sections = [
        _results(metrics),
        _classes(metrics),
        _examples(evaluation.trained, evaluation.annotations),
        run_sections.reproducibility(evaluation),
    ]
    write_report(Report(title, [Paragraph(summary)], sections), path)


def _results(metrics: Mapping[str, Any]) -> Section:
    titles = [name.replace("AP_", "AP, ") for name in COLUMNS]
    rows = [
        [kind, *(_percentage(metrics[f"{kind}_{name}"]) for name in COLUMNS)]
        for kind in ("box", "mask")
    ]
    caption = "Average precision in per cent, mean over IoU 0.5 to 0.95 unless an IoU is given."
    columns = [Column(""), *(Column(title, ".1f") for title in titles)]
    return Section("Results", [Table(caption, columns, rows)])


def _classes(metrics: Mapping[str, Any]) -> Section:
    rows = [
        [name, _percentage(each["box_AP"]), _percentage(each["mask_AP"])]
        for name, each in metrics["classes"].items()
    ]
    columns = [Column("class"), Column("box AP", ".1f"), Column("mask AP", ".1f")]
    return Section("Classes", [Table("Average precision of each class.", columns, rows)])


def _examples(trained: TrainedDetector, annotations: Annotations) -> Section:
    chosen = evenly_spaced(len(annotations.images), SHOWN)
    count = len(chosen)
    names = [category.name for category in trained.categories]
    figure = Figure(figsize=(9, 3.4 * count), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(count, 2, squeeze=False)
    for row, index in zip(axes, chosen.tolist(), strict=True):
        pictures = _drawn(trained, annotations.images[index], names)
        for axis, picture, title in zip(row, pictures, ("annotated", "found"), strict=True):
            axis.imshow(picture)
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
    caption = f"Annotated objects, and those found with a score of {SCORE} or more."
    return Section("Images", [RasterFigure(caption, figure, "images with boxes and masks")])


def _drawn(
    trained: TrainedDetector, image: AnnotatedImage, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    pixels, target = load_image(image), load_target(image)
    truth = {
        "boxes": target["boxes"],
        "labels": target["labels"],
        "scores": target["boxes"].new_ones(len(target["boxes"])),
        "masks": target["masks"][:, None].float(),
    }
    found = detect_image(trained.detector, pixels)
    certain = found["scores"] >= SCORE
    array = pixels.permute(1, 2, 0).numpy()
    return (
        draw_detections(array, truth, names),
        draw_detections(array, {key: value[certain] for key, value in found.items()}, names),
    )


def _percentage(value: float | None) -> float | None:
    return None if value is None else 100 * value
