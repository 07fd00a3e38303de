"""Folders of a user: images that all differ, tables, and what is read from them."""

import numpy as np
from PIL import Image

from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.datasets import load_dataset


def write(root, *names, seed=0):
    """Write images that all differ."""
    drawn = np.random.default_rng([seed, len(names)])
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name, "PNG")


def write_table(root, split, text, encoding="utf-8"):
    (root / f"{split}.csv").write_bytes(text.encode(encoding))


def splits(root, **options):
    dataset = load_dataset("folder", str(root), options)
    return dataset.train, dataset.query, dataset.gallery


def findings(root):
    return dict(inspect_dataset("folder", str(root), {}).findings)
