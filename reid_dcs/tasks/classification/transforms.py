"""Augmentation of training images and the preprocessing of an evaluation, with torchvision's v2."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from reid_dcs.data.decode import resize
from reid_dcs.tasks.classification.settings import TrainDataConfig
from reid_dcs.weights import Preprocessing

Transform = Callable[[Image.Image], Tensor]
"""From an RGB image to (H, W, 3) uint8."""

POLICIES: dict[str, Callable[[], v2.Transform]] = {
    "none": v2.Identity,
    "randaugment": v2.RandAugment,
    "trivialaugment": v2.TrivialAugmentWide,
}


def training_transform(data: TrainDataConfig) -> Transform:
    """Random crop, flip and policy of ``data``; draws from torch's random generator."""
    size = (data.height, data.width)
    steps: list[v2.Transform] = []
    if data.crop_scale < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(data.crop_scale, 1.0), antialias=True))
    else:
        steps.append(v2.Resize(size, antialias=True))
    if data.padding:
        steps.append(v2.RandomCrop(size, padding=data.padding))
    steps += [v2.RandomHorizontalFlip(data.flip), POLICIES[data.policy]()]
    transform = v2.Compose(steps)

    def apply(image: Image.Image) -> Tensor:
        pixels: Tensor = transform(functional.pil_to_tensor(image))  # (3, H, W)
        return pixels.permute(1, 2, 0).contiguous()

    return apply


def evaluation_transform(pixels: Preprocessing) -> Transform:
    """Resize and center crop as a model card says."""

    def apply(image: Image.Image) -> Tensor:
        array = resize(image, pixels.height, pixels.width, pixels.interpolation, pixels.center_crop)
        return torch.from_numpy(array.copy())

    return apply
