"""A detection run of seconds: a few small scenes and a narrow network."""

from pathlib import Path
from typing import Any

from reid_dcs.config import merge_layers
from reid_dcs.tasks.detection.data.scenes import SceneSet, draw_scenes

TINY = SceneSet(train=6, val=3, height=48, width=64)


def tiny_scenes(root: Path) -> Path:
    """A data root with a small generated set."""
    draw_scenes(root / "scenes", TINY)
    return root


def settings(root: Path, output: Path, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings of a training of one epoch."""
    tiny = {
        "output_dir": str(output),
        "device": "cpu",
        "model": {
            "name": "mobilenetv2_dcs",
            "options": {"channels": 8, "hidden": 16, "samples": 16},
        },
        "data": {
            "name": "scenes",
            "root": str(root),
            "sizes": [64],
            "max_size": 96,
            "batch_size": 2,
        },
        "train": {"epochs": 1, "optimizer": "adamw", "learning_rate": 1e-3, "precision": "float32"},
    }
    return merge_layers(tiny, changes or {})
