"""Image classification as a task of the trainer: cross entropy, accuracies."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from reid_dcs.data.augment import normalize
from reid_dcs.engine import Losses, Metrics
from reid_dcs.errors import InputError
from reid_dcs.runtime.device import send
from reid_dcs.runtime.distributed import gathered, is_main
from reid_dcs.runtime.hooks import evaluating, weight_of
from reid_dcs.runtime.precision import Precision
from reid_dcs.tasks.classification.loader import Batch, check_readable
from reid_dcs.tasks.classification.metrics import Predictions, concatenated, top_classes
from reid_dcs.weights import Preprocessing


class Classification:
    """Losses of a batch and metrics of an evaluation; see :class:`reid_dcs.engine.Task`.

    Args:
        network: from normalized images (B, 3, H, W) to logits (B, C); perhaps compiled or captured.
        precision: of the forward pass in training; evaluations are in float32.
        pixels: mean and std of the normalization.
        test_loader: batches of the evaluation.
        label_smoothing: of the cross entropy.

    Attributes:
        predictions: of the last evaluation.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        precision: Precision,
        pixels: Preprocessing,
        test_loader: Iterable[Batch],
        label_smoothing: float = 0.0,
    ) -> None:
        self.network, self.precision, self.pixels = network, precision, pixels
        self.test_loader, self.label_smoothing = test_loader, label_smoothing
        self.predictions: Predictions | None = None

    def losses(self, batch: Batch) -> Losses:
        """Cross entropy, and accuracy, of a batch."""
        check_readable(batch)
        images, labels = (send(batch[key], self.precision.device) for key in ("images", "labels"))
        with self.precision.autocast():
            logits = self.network(normalize(images, self.pixels.mean, self.pixels.std))
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == labels).float().mean()}

    def evaluate(self, model: nn.Module) -> Metrics:
        """Top-1 and top-5 of a network."""
        precision = Precision("float32", self.precision.device)
        self.predictions = predict(model, self.test_loader, precision, self.pixels)
        return self.predictions.metrics()


def predict(
    network: nn.Module, loader: Iterable[Batch], precision: Precision, pixels: Preprocessing
) -> Predictions:
    """Classify all images of a loader; every process gets the predictions of all.

    Args:
        network: classification network, on its device; its mode is restored.
        loader: this process's part of the images.

    Raises:
        InputError: an image is unreadable, or its logits are not finite.
    """
    device, labels, top = weight_of(network).device, [], []
    num_classes = 0
    silent = None if is_main() else True  # None: silent only if there is no terminal
    errors: list[str] = []
    overflown: list[str] = []
    with evaluating(network), tqdm(loader, "evaluate", leave=False, disable=silent) as bar:
        for batch in bar:
            errors += batch["errors"]
            if errors:
                continue  # the others are named too
            images = normalize(send(batch["images"], device), pixels.mean, pixels.std)
            with precision.autocast():
                logits = network(images).float()
            num_classes = logits.shape[1]
            wrong = (~logits.isfinite().all(1)).nonzero().flatten()
            overflown += [batch["names"][i] for i in wrong.tolist()]
            labels.append(batch["labels"])
            top.append(top_classes(logits).cpu())
    everything: list[Any] = gathered((errors, overflown, labels, top, num_classes))
    check_readable({"errors": [error for errors, *_ in everything for error in errors]})
    if names := [name for _, overflown, *_ in everything for name in overflown]:
        raise InputError(
            f"the logits of {len(names)} image(s) are not finite, such as of {names[0]}: use "
            "eval.precision=float32 or other weights"
        )
    parts = [
        Predictions(torch.cat(labels), torch.cat(top), classes)
        for _, _, labels, top, classes in everything
        if labels
    ]
    return concatenated(parts)
