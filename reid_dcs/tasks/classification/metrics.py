"""Top-1, top-5, the accuracy of each class and the confusion matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

TOP = 5


@dataclass(frozen=True)
class Predictions:
    """Predictions for the N images of an evaluation.

    Attributes:
        labels: (N,) int64.
        top: (N, K) int64, the classes of the K largest logits, the largest first; K is 5, or the
            number of classes if there are fewer.
        num_classes: number of outputs of the network.
    """

    labels: Tensor
    top: Tensor
    num_classes: int

    @property
    def top1(self) -> float:
        """Fraction of the images whose largest logit is their label's."""
        return float((self.top[:, 0] == self.labels).double().mean())

    @property
    def top5(self) -> float:
        """Fraction of the images whose label is among the five largest logits."""
        return float((self.top == self.labels[:, None]).any(1).double().mean())

    def metrics(self) -> dict[str, float]:
        """Both accuracies, as fractions."""
        return {"top1": self.top1, "top5": self.top5}

    def confusion(self) -> Tensor:
        """(C, C) int64: the number of images of a class (row) that were taken for one (column)."""
        pairs = self.labels * self.num_classes + self.top[:, 0]
        counts = pairs.bincount(minlength=self.num_classes**2)
        return counts.reshape(self.num_classes, self.num_classes)

    def class_accuracies(self) -> Tensor:
        """(C,) float64: top-1 of the images of each class; NaN without images."""
        confusion = self.confusion()
        return confusion.diagonal().double() / confusion.sum(1)


def top_classes(logits: Tensor) -> Tensor:
    """(B, C) logits -> (B, min(5, C)) classes, the largest logit first."""
    return logits.topk(min(TOP, logits.shape[1]), dim=1).indices


def worst_confusions(confusion: Tensor, count: int = 10) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (class, class that it was taken for, number of images)."""
    mistakes = confusion.clone().fill_diagonal_(0)
    values, places = mistakes.flatten().sort(descending=True, stable=True)
    width = confusion.shape[1]
    return [
        (place // width, place % width, value)
        for value, place in zip(values[:count].tolist(), places[:count].tolist(), strict=True)
        if value
    ]


def concatenated(parts: list[Predictions]) -> Predictions:
    """The predictions of several processes as one."""
    return Predictions(
        torch.cat([part.labels for part in parts]),
        torch.cat([part.top for part in parts]),
        parts[0].num_classes,
    )
