"""Small detectors, and scenes of rectangles for them."""

import torch
from torch import Tensor, nn

from reid_dcs.tasks.detection import CascadeMaskRCNN, build_detector

SMALL = {"channels": 16, "hidden": 32, "samples": 32, "min_size": 64, "max_size": 128}


def small_detector(
    name: str = "mobilenetv2_dcs", num_classes: int = 3, seed: int = 0, **options
) -> CascadeMaskRCNN:
    """A detector of narrow heads for images of about 64 pixels."""
    torch.manual_seed(seed)
    return build_detector(name, num_classes, **SMALL | options)


def activate(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random statistics and scales in every BN and random classifiers, so that outputs differ."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(uniform(module.bias, -0.1, 0.1))
                module.running_var.copy_(uniform(module.bias, 0.5, 1.5))
                module.weight.copy_(uniform(module.weight, 0.7, 1.5))
            if name.endswith(("cls_score", "bbox_pred")):
                module.weight.copy_(uniform(module.weight, -0.3, 0.3))
    return network


def target(height: int, width: int, *objects: tuple[int, int, int, int, int]) -> dict[str, Tensor]:
    """A target of rectangles, each (label, left, top, right, bottom) and its own mask."""
    masks = torch.zeros(len(objects), height, width, dtype=torch.uint8)
    for mask, (_, left, top, right, bottom) in zip(masks, objects, strict=True):
        mask[top:bottom, left:right] = 1
    return {
        "boxes": torch.tensor([each[1:] for each in objects]).float().reshape(-1, 4),
        "labels": torch.tensor([each[0] for each in objects], dtype=torch.int64),
        "masks": masks,
    }


def random_images(*sizes: tuple[int, int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *size, generator=generator) for size in sizes]
