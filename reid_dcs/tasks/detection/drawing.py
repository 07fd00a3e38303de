"""Draw detections on images: boxes with names and scores, and masks."""

import colorsys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from torch import Tensor

from reid_dcs.tasks.detection.evaluation import MASK_THRESHOLD

OPACITY = 0.45  # of a mask


def draw_detections(
    image: np.ndarray, found: Mapping[str, Tensor], names: Sequence[str]
) -> np.ndarray:
    """Draw detections on a copy of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: ``boxes`` (n, 4), ``labels``, ``scores`` (n,) and ``masks`` (n, 1, H, W).
        names: of the labels 1, 2, ...
    """
    drawn = image.copy()
    masks = (found["masks"][:, 0] > MASK_THRESHOLD).cpu().numpy()
    colors = [_color(i) for i in range(len(masks))]
    for mask, color in zip(masks, colors, strict=True):
        drawn[mask] = ((1 - OPACITY) * drawn[mask] + OPACITY * np.array(color)).astype(np.uint8)
    pen = max(1, round(min(image.shape[:2]) / 300))
    details = zip(
        found["boxes"].round().int().tolist(),
        found["labels"].tolist(),
        found["scores"].tolist(),
        colors,
        strict=True,
    )
    for (x1, y1, x2, y2), label, score, color in details:
        cv2.rectangle(drawn, (x1, y1), (x2, y2), color, pen)
        _write(drawn, f"{names[label - 1]} {score:.2f}", (x1, y1), color, pen)
    return drawn


def _write(
    image: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int], pen: int
) -> None:
    """Write text on a bar above a corner of a box, or below it at the image's upper border."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.4 * pen
    (width, height), below = cv2.getTextSize(text, font, scale, pen)
    x, y = corner
    y = y if y > height + below else y + height + below
    cv2.rectangle(image, (x, y - height - below), (x + width, y), color, -1)
    cv2.putText(image, text, (x, y - below // 2), font, scale, (0, 0, 0), pen, cv2.LINE_AA)


def _color(number: int) -> tuple[int, int, int]:
    """Bright colors, neighbors far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
