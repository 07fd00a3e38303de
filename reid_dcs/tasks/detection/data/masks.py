"""Masks in COCO's forms, polygons and run lengths, through pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reid_dcs.runtime.imports import extra

coco_mask = extra("pycocotools.mask", "detection")

_LONGEST_RUN = 35  # bits of a run length; the decoder has 32

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons x1, y1, x2, y2, ..., or run lengths: ``{"size": [H, W], "counts": ...}``."""


def is_segmentation(value: object, height: int, width: int) -> bool:
    """Whether a value describes a mask of an image of this size."""
    if isinstance(value, dict):
        return _is_run_lengths(value, height, width)
    return isinstance(value, list) and bool(value) and all(map(_is_polygon, value))


def decode(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Pixels of a mask: (H, W) uint8, 0 or 1."""
    return coco_mask.decode(run_lengths(segmentation, height, width))


def run_lengths(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """A mask as compressed run lengths, the form that pycocotools computes with."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            return coco_mask.frPyObjects(segmentation, height, width)
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Compressed run lengths of a mask (H, W), in types that JSON has."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def count_runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths of a mask (H, W): zeros and ones in turn, column by column."""
    values = np.concatenate([[0], mask.T.ravel().astype(np.int8), [-1]])
    edges = np.flatnonzero(np.diff(values))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def _is_polygon(points: object) -> bool:
    if not isinstance(points, Sequence) or isinstance(points, str):
        return False
    numbers = all(type(value) in (int, float) and abs(value) < 1e6 for value in points)
    return numbers and len(points) >= 6 and len(points) % 2 == 0


def _is_run_lengths(value: dict[str, Any], height: int, width: int) -> bool:
    counts = value.get("counts")
    if value.get("size") != [height, width]:
        return False
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list):
        return False
    whole = all(type(count) is int and count >= 0 for count in counts)
    return whole and sum(counts) == height * width


def _uncompressed(text: str) -> list[int] | None:
    """The run lengths of a compressed string; None if it is damaged.

    pycocotools checks no string: a damaged one gives pixels of uninitialised memory, or a crash. A
    character is a number from 0 to 63, added to 48. Its lower five bits are digits, the first ones
    the lowest, and 32 says that more follow; 16 in the last one is the sign. From the fourth run
    on, the number is the difference to the run two before.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        value = ord(character) - 48
        if not 0 <= value < 64 or shift >= _LONGEST_RUN:
            return None
        number |= (value & 31) << shift
        shift += 5
        if not value & 32:
            number -= (value & 16) << (shift - 4)
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return None if shift else runs
