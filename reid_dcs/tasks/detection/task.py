"""Detection for the trainer: losses of a batch, AP of an evaluation, groups of parameters."""

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from reid_dcs.engine import Losses, Metrics
from reid_dcs.runtime.device import send
from reid_dcs.runtime.precision import Precision
from reid_dcs.tasks.detection.data.annotations import Annotations
from reid_dcs.tasks.detection.data.batches import Batch
from reid_dcs.tasks.detection.evaluation import evaluate_detector
from reid_dcs.tasks.detection.network import CascadeMaskRCNN


class DetectionTask:
    """Training of a detector; see :class:`reid_dcs.engine.Task`.

    Args:
        detector: network that is trained, on its device.
        evaluated: annotations that evaluations detect the objects of.
        precision: of the forward pass in training.
        batch_size: images of a batch in an evaluation.

    Attributes:
        result: result of the last evaluation, with the classes.
    """

    def __init__(
        self,
        detector: CascadeMaskRCNN,
        evaluated: Annotations,
        precision: Precision,
        batch_size: int = 1,
    ) -> None:
        self.detector, self.evaluated = detector, evaluated
        self.precision, self.batch_size = precision, batch_size
        self.result: dict[str, Any] = {}

    def losses(self, batch: Batch) -> Losses:
        """``loss``, the sum, and the five losses of the detector."""
        device = self.precision.device
        images = [send(image, device).float() / 255 for image in batch.images]
        targets = [{k: send(v, device) for k, v in each.items()} for each in batch.targets]
        with self.precision.autocast():
            losses = self.detector(images, targets)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        return {"loss": total} | {name.removeprefix("loss_"): v for name, v in losses.items()}

    def evaluate(self, model: nn.Module) -> Metrics:
        """AP of boxes and masks, of the sizes that there are."""
        assert isinstance(model, CascadeMaskRCNN)
        self.result = evaluate_detector(model, self.evaluated, self.batch_size)
        return {key: value for key, value in self.result.items() if isinstance(value, float)}


def parameter_groups(
    detector: CascadeMaskRCNN, learning_rate: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups of the trained parameters, for an optimizer.

    Parameters with one dimension (biases, scales of norms) do not decay. The stages of the trunk
    learn more slowly the earlier they are: the last one by the factor ``layer_decay``, the one
    before it by its square, and so on. Attention, pyramid and heads learn at the full rate.
    """
    stages = detector.backbone.trunk.stage_modules()
    depth = {
        id(parameter): len(stages) - i
        for i, modules in enumerate(stages)
        for module in modules
        for parameter in module.parameters()
    }
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for parameter in detector.parameters():
        if parameter.requires_grad:
            decays = parameter.squeeze().ndim > 1
            groups[depth.get(id(parameter), 0), decays].append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay**below,
            "weight_decay": weight_decay * decays,
        }
        for (below, decays), parameters in groups.items()
    ]
