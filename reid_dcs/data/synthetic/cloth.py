"""Cloth and colour on the canvas: woven patterns, outlines, and the shade of round things."""

from dataclasses import replace

import cv2
import numpy as np

from reid_dcs.data.synthetic.figure import Figure, Polygons
from reid_dcs.data.synthetic.person import Colour, Fabric

SHOULDERS = 0.83
SHADE = 0.77
# Where a pattern shows its colour (0), a blend (1) or its accent (2): across and down run from 0
# to 1 within a repeat, below counts body heights from the shoulders.
WEAVES = {
    "stripes": lambda across, down, below: 2 * (down < 0.45),
    "bars": lambda across, down, below: 2 * (across < 0.4),
    "checks": lambda across, down, below: 1 * (across < 0.5) + (down < 0.5),
    "dots": lambda across, down, below: 2 * ((across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.09),
    "band": lambda across, down, below: 2 * ((below > 0.09) & (below < 0.16)),
    "two-tone": lambda across, down, below: 2 * (below < 0.13),
}


def tinted(cloth: Fabric | Colour, factor: float) -> Fabric | Colour:
    """Return a cloth or a colour in more or less light."""
    if isinstance(cloth, Fabric):
        return replace(
            cloth, colour=tinted(cloth.colour, factor), accent=tinted(cloth.accent, factor)
        )
    red, green, blue = cloth
    return min(255.0, red * factor), min(255.0, green * factor), min(255.0, blue * factor)


def weave(fabric: Fabric, across: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return a patterned cloth as a texture (rows, columns, 3), uint8 RGB.

    The offsets across (columns,) are counted from the body's axis and below (rows,) from the
    shoulders, both in body heights.
    """
    below = below[:, None]
    share = WEAVES[fabric.pattern](across / fabric.pitch % 1, below / fabric.pitch % 1, below)
    colour, accent = np.array(fabric.colour), np.array(fabric.accent)
    shades = np.array([colour, (colour + accent) / 2, accent]).astype(np.uint8)
    texture = shades.take(share, axis=0)
    return np.ascontiguousarray(np.broadcast_to(texture, (below.size, across.size, 3)))


class Brush:
    """Fills a figure's polygons on a canvas (H, W, 3), uint8 RGB, in place."""

    def __init__(self, canvas: np.ndarray, figure: Figure) -> None:
        self._canvas, self._origin, self._height = canvas, figure.origin, figure.height
        self._shade = np.zeros(canvas.shape[:2], np.uint8)

    def paint(self, polygons: Polygons, cloth: Fabric | Colour) -> None:
        """Paint a solid: an outline, its cloth, and a shade on its right-hand side."""
        if not polygons:
            return
        outline = tinted(cloth.colour if isinstance(cloth, Fabric) else cloth, 0.6)
        cv2.polylines(self._canvas, polygons, True, outline, max(1, round(self._height / 170)))
        self.stick(polygons, cloth)
        slip = max(2, cv2.boundingRect(polygons[0])[2] // 6)
        for polygon in polygons:
            cv2.fillConvexPoly(self._shade, polygon, 255)
        for polygon in polygons:
            cv2.fillConvexPoly(self._shade, polygon - (slip, 0), 0)

    def stick(self, polygons: Polygons, cloth: Fabric | Colour) -> None:
        """Fill polygons flatly, as a detail that lies on what has been painted before."""
        if isinstance(cloth, Fabric) and cloth.pattern in WEAVES:
            return self._stick_woven(polygons, cloth)
        colour = cloth.colour if isinstance(cloth, Fabric) else cloth
        for polygon in polygons:
            cv2.fillConvexPoly(self._canvas, polygon, colour)

    def cast_shadow(self) -> None:
        """Shade the ground around the feet."""
        spot = np.rint(self._origin - (0, 0.02 * self._height)).astype(int).tolist()
        size = int(0.17 * self._height), int(0.028 * self._height)
        cv2.ellipse(self._shade, spot, size, 0, 0, 360, 255, -1)

    def finish(self) -> None:
        """Darken the canvas wherever the strokes left a shade."""
        cv2.copyTo(cv2.convertScaleAbs(self._canvas, alpha=SHADE), self._shade, self._canvas)

    def _stick_woven(self, polygons: Polygons, fabric: Fabric) -> None:
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
