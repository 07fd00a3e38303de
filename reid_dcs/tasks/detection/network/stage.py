"""One stage of the cascade: torchvision's heads of Mask R-CNN, with three differences.

Boxes are regressed for each class as decoded boxes by GIoU, as in the configurations of ConvNeXt;
there is no box and no mask of the background; and a stage hands its refined boxes to the next.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, generalized_box_iou_loss

from reid_dcs.tasks.detection.network.pyramid import LEVELS

Features = dict[str, Tensor]
Shapes = Sequence[tuple[int, int]]
"""Height and width of each image of a batch, without padding."""
Targets = list[dict[str, Tensor]]

GIOU_WEIGHT = 10.0  # of the box loss beside the classification loss
BACKGROUND = 0
"""Label of the background; the classes are 1 to K."""


class Readout(NamedTuple):
    """What a stage computes for the N boxes of a batch."""

    logits: Tensor
    """(N, 1 + K), the background first."""
    boxes: Tensor
    """The refined box of each class, (N, K, 4)."""


class BoxPredictor(nn.Module):
    """Linear classifier and regressor, which predicts no box of the background."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, 1 + num_classes)
        self.bbox_pred = nn.Linear(channels, 4 * num_classes)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, channels) -> logits (N, 1 + K) and box codes (N, 4 K)."""
        return self.cls_score(x), self.bbox_pred(x)


class CascadeStage(RoIHeads):
    """One stage of the cascade.

    Args:
        channels: of the feature pyramid, and of the convolutions of the heads.
        num_classes: K, without the background.
        iou: threshold; boxes that overlap an object more are trained to be it.
        weights: of the box coder, for x, y, width and height.
        hidden: width of the fully connected layer.
        samples: boxes of an image that are trained on; a quarter of them may be objects.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        iou: float,
        weights: tuple[float, float, float, float],
        hidden: int = 1024,
        samples: int = 512,
    ) -> None:
        norm, levels = nn.BatchNorm2d, list(LEVELS)
        super().__init__(
            MultiScaleRoIAlign(levels, output_size=7, sampling_ratio=2),
            FastRCNNConvFCHead((channels, 7, 7), [channels] * 4, [hidden], norm_layer=norm),
            BoxPredictor(hidden, num_classes),
            fg_iou_thresh=iou,
            bg_iou_thresh=iou,
            batch_size_per_image=samples,
            positive_fraction=0.25,
            bbox_reg_weights=weights,
            score_thresh=0.0,  # these three belong to the cascade
            nms_thresh=1.0,
            detections_per_img=0,
            mask_roi_pool=MultiScaleRoIAlign(levels, output_size=14, sampling_ratio=2),
            mask_head=MaskRCNNHeads(channels, (channels,) * 4, dilation=1),
            mask_predictor=MaskRCNNPredictor(channels, channels, num_classes),
        )

    def read(self, features: Features, boxes: list[Tensor], shapes: Shapes) -> Readout:
        """Classify and refine the boxes of each image, (n, 4) with n summing up to N."""
        regions = self.box_roi_pool(features, boxes, shapes)  # (N, channels, 7, 7)
        logits, codes = self.box_predictor(self.box_head(regions))
        decoded = self.box_coder.decode(codes.float(), boxes)
        return Readout(logits.float(), decoded.reshape(len(codes), codes.shape[1] // 4, 4))

    def refined(self, read: Readout, boxes: list[Tensor], shapes: Shapes) -> list[Tensor]:
        """Boxes for the next stage: of the best class of each, cut off at the image's border."""
        return self._of_class(read, read.logits[:, 1:].argmax(1), boxes, shapes)

    def losses(
        self, features: Features, boxes: list[Tensor], shapes: Shapes, targets: Targets
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Losses on a sample of the boxes and the objects themselves, and the refined boxes.

        The refined boxes come without those of the objects, which the next stage adds again.
        """
        boxes, matched, labels, _ = self.select_training_samples(list(boxes), targets)
        read = self.read(features, boxes, shapes)
        true = torch.cat(
            [
                t["boxes"][m] if len(t["boxes"]) else torch.zeros_like(b)
                for t, m, b in zip(targets, matched, boxes, strict=True)
            ]
        )  # (N, 4)
        label = torch.cat(labels)  # (N,)
        losses = {
            "loss_classifier": nn.functional.cross_entropy(read.logits, label),
            "loss_box_reg": _box_loss(read.boxes, true, label),
            "loss_mask": self._mask_loss(features, boxes, shapes, targets, matched, labels),
        }
        with torch.no_grad():
            best = read.logits[:, 1:].argmax(1)
            chosen = torch.where(label == BACKGROUND, best, label - 1)
            refined = self._of_class(read, chosen, boxes, shapes)
            new = (torch.cat(boxes) != true).any(1).split([len(b) for b in boxes])
        return losses, [box[keep] for box, keep in zip(refined, new, strict=True)]

    def mask_probabilities(
        self, features: Features, boxes: list[Tensor], labels: list[Tensor], shapes: Shapes
    ) -> list[Tensor]:
        """The mask of each box in its class: (n, 1, 28, 28) for each image."""
        logits = self._mask_logits(features, boxes, shapes)
        return list(maskrcnn_inference(logits, [label - 1 for label in labels]))

    def _mask_logits(self, features: Features, boxes: list[Tensor], shapes: Shapes) -> Tensor:
        regions = self.mask_roi_pool(features, boxes, shapes)  # (N, channels, 14, 14)
        return self.mask_predictor(self.mask_head(regions)).float()  # (N, K, 28, 28)

    def _mask_loss(
        self,
        features: Features,
        boxes: list[Tensor],
        shapes: Shapes,
        targets: Targets,
        matched: list[Tensor],
        labels: list[Tensor],
    ) -> Tensor:
        """Loss of the masks of objects; one whose mask is empty has only a box."""
        has_mask = [target["masks"].bool().flatten(1).any(1) for target in targets]
        objects = [
            (label > BACKGROUND) & (known[index] if len(known) else False)
            for label, known, index in zip(labels, has_mask, matched, strict=True)
        ]
        boxes = [box[which] for box, which in zip(boxes, objects, strict=True)]
        matched = [index[which] for index, which in zip(matched, objects, strict=True)]
        return maskrcnn_loss(
            self._mask_logits(features, boxes, shapes),
            boxes,
            [target["masks"] for target in targets],
            [target["labels"] - 1 for target in targets],
            matched,
        )

    def _of_class(
        self, read: Readout, classes: Tensor, boxes: list[Tensor], shapes: Shapes
    ) -> list[Tensor]:
        rows = torch.arange(len(classes), device=classes.device)
        chosen = read.boxes[rows, classes].detach().split([len(b) for b in boxes])
        return [clip_boxes_to_image(b, shape) for b, shape in zip(chosen, shapes, strict=True)]


def _box_loss(boxes: Tensor, true: Tensor, label: Tensor) -> Tensor:
    """GIoU of the decoded boxes of objects in their class, divided by the number of all boxes.

    Args:
        boxes: (N, K, 4).
        true: boxes of the matched objects, (N, 4).
        label: (N,), 0 for the background.
    """
    rows = (label > BACKGROUND).nonzero().flatten()
    of_objects = boxes[rows, label[rows] - 1]  # (P, 4)
    loss = generalized_box_iou_loss(of_objects, true[rows], reduction="sum", eps=1e-6)
    return GIOU_WEIGHT * loss / max(1, len(label))
