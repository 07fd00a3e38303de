"""The cascade: three stages, each trained on the boxes that the one before has refined."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from reid_dcs.tasks.detection.network.stage import CascadeStage, Features, Shapes, Targets


class StageSettings(NamedTuple):
    """What differs between the stages of Cascade R-CNN."""

    iou: float
    """Boxes that overlap an object more are trained to be it."""
    loss_weight: float
    coder_weights: tuple[float, float, float, float]
    """Of x, y, width and height: the inverse of their standard deviations."""


STAGES = (
    StageSettings(0.5, 1.0, (10.0, 10.0, 5.0, 5.0)),
    StageSettings(0.6, 0.5, (20.0, 20.0, 10.0, 10.0)),
    StageSettings(0.7, 0.25, (30.0, 30.0, 15.0, 15.0)),
)


class Cascade(nn.Module):
    """Proposals to losses, or to detections with masks; takes the place of torchvision's RoIHeads.

    A detection's scores are the means of the three stages' probabilities, its box is the last
    stage's, and its mask the mean of the three.

    Args:
        channels, num_classes, hidden, samples: see :class:`CascadeStage`.

    Attributes:
        score_threshold: detections with a lower score are dropped.
        nms_threshold: of two detections of a class that overlap more, the better one is kept.
        max_detections: in an image.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        hidden: int = 1024,
        samples: int = 512,
    ) -> None:
        super().__init__()
        stages = nn.ModuleList(
            CascadeStage(channels, num_classes, each.iou, each.coder_weights, hidden, samples)
            for each in STAGES
        )
        self.stages = cast(Sequence[CascadeStage], stages)
        self.score_threshold, self.nms_threshold = 0.05, 0.5
        self.max_detections = 100

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Shapes,
        targets: Targets | None = None,
    ) -> tuple[Targets, dict[str, Tensor]]:
        """Detections of each image in evaluation, losses in training; the other one is empty."""
        if self.training:
            assert targets is not None
            return [], self.losses(features, proposals, image_shapes, targets)
        return self.detect(features, proposals, image_shapes), {}

    def losses(
        self, features: Features, boxes: list[Tensor], shapes: Shapes, targets: Targets
    ) -> dict[str, Tensor]:
        """``loss_classifier``, ``loss_box_reg``, ``loss_mask``: weighted sums over the stages."""
        total: dict[str, Tensor] = {}
        for stage, settings in zip(self.stages, STAGES, strict=True):
            losses, boxes = stage.losses(features, boxes, shapes, targets)
            for name, loss in losses.items():
                total[name] = total.get(name, 0.0) + settings.loss_weight * loss
        return total

    def detect(self, features: Features, boxes: list[Tensor], shapes: Shapes) -> Targets:
        """``boxes`` (n, 4), ``labels``, ``scores`` (n,) and ``masks`` (n, 1, 28, 28) by image."""
        probabilities = []
        for i, stage in enumerate(self.stages, start=1):
            read = stage.read(features, boxes, shapes)
            probabilities.append(read.logits.softmax(-1))
            if i < len(self.stages):
                boxes = stage.refined(read, boxes, shapes)
        sizes = [len(box) for box in boxes]
        scores = torch.stack(probabilities).mean(0).split(sizes)  # of (n, 1 + K)
        found = [
            self.select(*each) for each in zip(scores, read.boxes.split(sizes), shapes, strict=True)
        ]
        masks = self._masks(features, found, shapes)
        return [detections | {"masks": mask} for detections, mask in zip(found, masks, strict=True)]

    def select(self, scores: Tensor, boxes: Tensor, shape: tuple[int, int]) -> dict[str, Tensor]:
        """The best detections of an image.

        Args:
            scores: (N, 1 + K), the background first.
            boxes: (N, K, 4).
            shape: height and width of the image.
        """
        row, column = (scores[:, 1:] > self.score_threshold).nonzero(as_tuple=True)
        box = clip_boxes_to_image(boxes[row, column], shape)  # (n, 4)
        score, label = scores[row, column + 1], column + 1
        kept = remove_small_boxes(box, min_size=1e-2)
        kept = kept[batched_nms(box[kept], score[kept], label[kept], self.nms_threshold)]
        kept = kept[: self.max_detections]
        return {"boxes": box[kept], "labels": label[kept], "scores": score[kept]}

    def _masks(self, features: Features, found: Targets, shapes: Shapes) -> Sequence[Tensor]:
        boxes = [each["boxes"] for each in found]
        labels = [each["labels"] for each in found]
        of_stages = [s.mask_probabilities(features, boxes, labels, shapes) for s in self.stages]
        return [torch.stack(masks).mean(0) for masks in zip(*of_stages, strict=True)]
