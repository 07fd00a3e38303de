"""Street scenes for detection: several people in one image, with the exact mask of each.

A mask is what of a person is visible: people in front and bicycles hide those behind. It is found
by drawing everything twice, on black and on white: what is drawn is equal in both.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Color, sample_person
from reid_dcs.data.synthetic.scenes import (
    WHEEL,
    Stage,
    brick_wall,
    fence,
    park,
    shop,
    station,
)

KINDS = ("person", "bicycle")
BACKGROUNDS: tuple[Callable[[Stage], None], ...] = (brick_wall, fence, park, shop, station)
SUPERSAMPLING = 2  # factor of the drawing resolution
VISIBLE = 0.2  # fraction of an object that must be visible for it to be annotated
SMALLEST = 24  # visible pixels of an annotated object
NOISE = 4.0  # standard deviation of the sensor noise, in gray levels


class Thing(NamedTuple):
    """A visible object."""

    kind: str
    """One of :data:`KINDS`."""
    mask: np.ndarray
    """Visible pixels, (H, W) bool."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the mask; right and bottom are outside."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


Draw = Callable[[np.ndarray], object]
"""Draws an object on a canvas (H, W, 3)."""


def draw_street(
    rng: np.random.Generator, height: int = 120, width: int = 160, most: int = 6
) -> tuple[np.ndarray, list[Thing]]:
    """Draw a scene with up to ``most`` objects, at times none.

    Args:
        rng: generator of all variation; the same state gives the same image.
        height, width: of the image, in pixels.

    Returns:
        the image, (H, W, 3) uint8 RGB, and its objects, the farthest first.
    """
    size = (height * SUPERSAMPLING, width * SUPERSAMPLING)
    canvas = np.empty((*size, 3), np.uint8)
    BACKGROUNDS[rng.integers(len(BACKGROUNDS))](Stage(canvas, rng))
    count = int(rng.integers(0, most + 1))
    feet = np.sort(rng.uniform(0.5, 1.08, count))  # the nearer, the lower in the image
    kinds = rng.choice(KINDS, count, p=(0.75, 0.25))
    drawings = [
        (_person if kind == "person" else _bicycle)(rng, foot * size[0], size)
        for kind, foot in zip(kinds, feet, strict=True)
    ]
    masks = [_silhouette(draw, size) for draw in drawings]
    for draw in drawings:
        draw(canvas)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    noise = rng.standard_normal(image.shape, np.float32) * NOISE * rng.uniform(0.3, 1)
    image = np.clip(image * rng.uniform(0.75, 1.1) + noise, 0, 255).astype(np.uint8)
    return image, _visible_things(kinds.tolist(), masks)


def _visible_things(kinds: Sequence[str], masks: Sequence[np.ndarray]) -> list[Thing]:
    things, hidden = [], np.zeros_like(masks[0]) if masks else np.zeros((0, 0), bool)
    for kind, mask in zip(kinds[::-1], masks[::-1], strict=True):  # the nearest first
        small = _reduced(mask & ~hidden)
        if small.sum() >= max(SMALLEST, VISIBLE * _reduced(mask).sum()):
            things.append(Thing(kind, small))
        hidden |= mask
    return things[::-1]


def _reduced(mask: np.ndarray) -> np.ndarray:
    """Pixels of the image that are covered by more than half, each by one object at most."""
    height, width = (side // SUPERSAMPLING for side in mask.shape)
    return mask.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean((1, 3)) > 0.5


def _silhouette(draw: Draw, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) that an object covers; its shadow on the ground is not part of it."""
    black, white = np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)
    draw(black)
    draw(white)
    return (black == white).all(2)


def _person(rng: np.random.Generator, foot: float, size: tuple[int, int]) -> Draw:
    person = sample_person(rng)
    depth = foot / size[0]  # about the horizon, people are a fifth of the image high
    placed = {
        "view": rng.uniform(-np.pi, np.pi),
        "phase": rng.uniform(0, 2 * np.pi),
        "center": rng.uniform(0.02, 0.98) * size[1],
        "foot": foot,
        "height": size[0] * (1.1 * depth - 0.33) * person.stature,
    }
    return lambda canvas: draw_person(canvas, person, **placed)


def _bicycle(rng: np.random.Generator, foot: float, size: tuple[int, int]) -> Draw:
    """A parked bicycle in side view, its wheels on the ground."""
    length = size[0] * (1.1 * foot / size[0] - 0.33) * 0.9
    center, side = rng.uniform(0.05, 0.95) * size[1], rng.choice((-1, 1))
    color: Color = tuple(rng.uniform(30, 220, 3).tolist())
    radius = 0.19 * length
    points = np.array(  # rear hub, saddle, crank, bars, front hub
        [(-0.31, 0.0), (-0.13, -0.28), (-0.06, 0.02), (0.2, -0.32), (0.31, 0.0)]
    )
    points = points * (side * length, length) + (center, foot - radius)
    corners = np.rint(points).astype(int).tolist()

    def draw(canvas: np.ndarray) -> None:
        pen = max(1, round(length / 32))
        for start, end in ((0, 1), (1, 2), (2, 3), (3, 4), (2, 0), (1, 3)):
            cv2.line(canvas, corners[start], corners[end], color, pen)
        for hub in (corners[0], corners[4]):
            cv2.circle(canvas, hub, round(radius), WHEEL, pen)

    return draw
