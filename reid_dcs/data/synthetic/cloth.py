"""Polygon filling with plain or patterned fabric, outlines and shading."""

from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np

from reid_dcs.data.synthetic.figure import Figure, Polygons
from reid_dcs.data.synthetic.person import Color, Fabric

SHOULDERS = 0.83  # height of the shoulders, in body heights
SHADE = 0.77  # brightness of shaded pixels
# Each pattern maps a point to its color (0), a blend (1) or its accent (2). across and down are
# positions within a repeat, from 0 to 1; below is the distance from the shoulders in body heights.
WEAVES = {
    "stripes": lambda across, down, below: 2 * (down < 0.45),
    "bars": lambda across, down, below: 2 * (across < 0.4),
    "checks": lambda across, down, below: 1 * (across < 0.5) + (down < 0.5),
    "dots": lambda across, down, below: 2 * ((across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.09),
    "band": lambda across, down, below: 2 * ((below > 0.09) & (below < 0.16)),
    "two-tone": lambda across, down, below: 2 * (below < 0.13),
}


Cloth = TypeVar("Cloth", Fabric, Color)


def tinted(cloth: Cloth, factor: float) -> Cloth:
    """Multiply the brightness of a color, or of both colors of a fabric."""
    if isinstance(cloth, Fabric):
        return replace(
            cloth, color=tinted(cloth.color, factor), accent=tinted(cloth.accent, factor)
        )
    red, green, blue = cloth
    return min(255.0, red * factor), min(255.0, green * factor), min(255.0, blue * factor)


def weave(fabric: Fabric, across: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Render a patterned fabric as a texture.

    Args:
        fabric: fabric with one of the patterns of :data:`WEAVES`.
        across: (columns,) horizontal distances from the axis of the body, in body heights.
        below: (rows,) distances below the shoulders, in body heights.

    Returns:
        (rows, columns, 3) uint8 RGB.
    """
    below = below[:, None]
    choice = WEAVES[fabric.pattern](across / fabric.pitch % 1, below / fabric.pitch % 1, below)
    color, accent = np.array(fabric.color), np.array(fabric.accent)
    palette = np.array([color, (color + accent) / 2, accent]).astype(np.uint8)
    texture = palette.take(choice, axis=0)
    return np.ascontiguousarray(np.broadcast_to(texture, (below.size, across.size, 3)))


class Brush:
    """Draws the polygons of a figure on a canvas, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        figure: figure whose origin and height place the patterns.
    """

    def __init__(self, canvas: np.ndarray, figure: Figure) -> None:
        self._canvas, self._origin, self._height = canvas, figure.origin, figure.height
        self._shade = np.zeros(canvas.shape[:2], np.uint8)

    def paint(self, polygons: Polygons, cloth: Fabric | Color) -> None:
        """Draw a solid body part: outline, fabric, and a shade along its right side."""
        if not polygons:
            return
        outline = tinted(cloth.color if isinstance(cloth, Fabric) else cloth, 0.6)
        cv2.polylines(self._canvas, polygons, True, outline, max(1, round(self._height / 170)))
        self.fill(polygons, cloth)
        offset = max(2, cv2.boundingRect(polygons[0])[2] // 6)
        for polygon in polygons:
            cv2.fillConvexPoly(self._shade, polygon, 255)
        for polygon in polygons:
            cv2.fillConvexPoly(self._shade, polygon - (offset, 0), 0)

    def fill(self, polygons: Polygons, cloth: Fabric | Color) -> None:
        """Fill polygons without outline or shade, as details on a body part."""
        if isinstance(cloth, Fabric) and cloth.pattern in WEAVES:
            return self._fill_patterned(polygons, cloth)
        color = cloth.color if isinstance(cloth, Fabric) else cloth
        for polygon in polygons:
            cv2.fillConvexPoly(self._canvas, polygon, color)

    def cast_shadow(self) -> None:
        """Shade the ground around the feet."""
        center = np.rint(self._origin - (0, 0.02 * self._height)).astype(int).tolist()
        radii = int(0.17 * self._height), int(0.028 * self._height)
        cv2.ellipse(self._shade, center, radii, 0, 0, 360, 255, -1)

    def finish(self) -> None:
        """Darken the shaded pixels of the canvas; call once, at the end."""
        cv2.copyTo(cv2.convertScaleAbs(self._canvas, alpha=SHADE), self._shade, self._canvas)

    def _fill_patterned(self, polygons: Polygons, fabric: Fabric) -> None:
        corners = np.concatenate(polygons)
        left, top = np.maximum(corners.min(axis=0), 0)
        right, bottom = np.minimum(corners.max(axis=0) + 1, self._canvas.shape[1::-1])
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        for polygon in polygons:
            cv2.fillConvexPoly(mask, polygon - (left, top), 255)
        across = (np.arange(left, right) - self._origin[0]) / self._height
        below = (np.arange(top, bottom) - self._origin[1]) / self._height + SHOULDERS
        cv2.copyTo(weave(fabric, across, below), mask, self._canvas[top:bottom, left:right])
