"""Cost of a detector as mmdet counts it, which Table 2 and ConvNeXt's tables print."""

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reid_dcs.runtime.hooks import probe
from reid_dcs.tasks.detection.network.detector import CascadeMaskRCNN

BOXES, MASKS = 1000, 100
"""Regions of an image that pass through each box head, and through each mask head."""
OPERATIONS = {nn.BatchNorm2d: 2, nn.ReLU: 1}  # for each element of the input
_PRODUCTS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)


class DetectorComplexity(NamedTuple):
    """Cost of one image. A multiply-add counts as one."""

    params: int
    """Parameters, including frozen ones."""
    mmdet_flops: int
    """Multiply-adds of convolutions and linear layers, 2 operations per element of a BN and 1 of a
    ReLU. mmdet, as every counter of modules, sees no affinity products."""
    affinity_macs: int
    """Multiply-adds of affinity products."""


def detector_complexity(
    detector: CascadeMaskRCNN, height: int = 800, width: int = 1280
) -> DetectorComplexity:
    """Count the cost of one image: the trunk, 1000 regions in each box head, 100 in each mask head.

    Args:
        detector: any; its parameters may be on the device ``meta``.
        height, width: size of the image after resizing.
    """
    operations = 0

    def count(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal operations
        cost = sum(cost for kind, cost in OPERATIONS.items() if isinstance(module, kind))
        operations += cost and cost * inputs[0].numel()

    with FlopCounterMode(display=False) as counter:
        probe(_Layers(detector), (3, height, width), count)
    flops = Counter(counter.get_flop_counts()["Global"])
    products = sum(flops[product] for product in _PRODUCTS)
    return DetectorComplexity(
        params=sum(p.numel() for p in detector.parameters()),
        mmdet_flops=(flops.total() - products) // 2 + operations,
        affinity_macs=products // 2,
    )


class _Layers(nn.Module):
    """All layers of a detector, each on as many regions as are counted."""

    def __init__(self, detector: CascadeMaskRCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> None:
        pyramid = self.detector.backbone
        maps = list(pyramid(images).values())
        self.detector.rpn.head(maps)
        for stage in self.detector.roi_heads.stages:
            channels = pyramid.out_channels
            stage.box_predictor(stage.box_head(images.new_zeros(BOXES, channels, 7, 7)))
            stage.mask_predictor(stage.mask_head(images.new_zeros(MASKS, channels, 14, 14)))
