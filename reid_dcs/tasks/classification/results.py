"""Results of a classification run: the content of metrics.json, and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from reid_dcs.models.complexity import complexity
from reid_dcs.tasks.classification.metrics import Predictions, worst_confusions
from reid_dcs.weights import Preprocessing

WORST = 5  # classes that are printed


def results(
    predictions: Predictions, classes: Sequence[str], network: nn.Module, pixels: Preprocessing
) -> dict[str, Any]:
    """Accuracies as fractions, of each class too, the most frequent mistakes, and the cost."""
    cost = complexity(network, (3, pixels.height, pixels.width))
    accuracies = predictions.class_accuracies().tolist()
    confusions = worst_confusions(predictions.confusion())
    return {
        **predictions.metrics(),
        "num_images": len(predictions.labels),
        "num_classes": predictions.num_classes,
        # without images of a class, it has no accuracy
        "classes": {n: v for n, v in zip(classes, accuracies, strict=True) if v == v},
        "confusions": [
            {"class": classes[true], "taken_for": classes[found], "images": count}
            for true, found, count in confusions
        ],
        "params": cost.params,
        "total_macs": cost.total_macs,
        "height": pixels.height,
        "width": pixels.width,
    }


def table(metrics: Mapping[str, Any]) -> str:
    """Top-1 and top-5 in per cent, and the classes with the lowest accuracy."""
    worst = sorted(metrics["classes"].items(), key=lambda item: item[1])[:WORST]
    names = ", ".join(f"{name} {value:.1%}" for name, value in worst)
    scores = f"{metrics['top1']:6.1%}  {metrics['top5']:6.1%}"
    return f"\n{'top-1':>6}  {'top-5':>6}\n{scores}\nworst classes: {names}"
