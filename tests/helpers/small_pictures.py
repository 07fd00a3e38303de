"""A few generated images in folders by class, and a backbone that learns them in a second."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor, nn

from reid_dcs.models import registry
from reid_dcs.models.backbones.base import Backbone

CLASSES = {"blue": (40, 60, 200), "green": (30, 180, 60), "red": (200, 50, 40), "white": (240,) * 3}
SIZE = 20  # pixels


class TinyBackbone(Backbone):
    """A convolution, and attention after it."""

    out_channels = 8
    stage_channels, stage_strides = [8], [2]

    def __init__(self, attention, last_stride: int = 1) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())]
        )
        self.attentions = nn.ModuleList([attention(8)])
        self.drop = nn.Dropout(0.1)  # draws random numbers in training

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        return [self.drop(self.run_stages(x, self.stages)[0])]


def tiny(attention, *, last_stride: int = 1) -> TinyBackbone:
    return TinyBackbone(attention, last_stride)


def register_tiny(patch) -> None:
    """Make ``tiny_base`` and ``tiny_dcs`` known for the time of a test."""
    patch.setitem(registry._BACKBONES, "tiny", tiny)
    for kind in ("base", "dcs", "dcs_sw"):
        patch.setitem(registry._PARTS, f"tiny_{kind}", ("tiny", kind))


def write_pictures(root: Path, train: int = 8, val: int = 4) -> Path:
    """Noisy images in the color of their class: ``root/train/CLASS`` and ``root/val/CLASS``."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name, color in CLASSES.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = random.normal(0, 40, (SIZE, SIZE + 4, 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return root
