"""Scenes behind the person, and obstacles in front.

Coordinates are fractions of the image: x, radii and line widths of its width, y of its height, so
a scene looks the same at any size. A scene covers the whole canvas, an obstacle a part of it.
"""

import cv2
import numpy as np

from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Color, sample_person

GLASS, WHITE, WHEEL = (88, 104, 122), (236, 234, 228), (36, 36, 38)

Point = tuple[float, float] | np.ndarray
"""(x, y)."""


class Stage:
    """Drawing functions on a canvas in fractional coordinates, and the generator of a scene.

    Args:
        canvas: (H, W, 3) uint8 RGB, modified in place.
        rng: generator of the scene's variation.
    """

    def __init__(self, canvas: np.ndarray, rng: np.random.Generator) -> None:
        self.canvas, self.rng = canvas, rng
        self.height, self.width = canvas.shape[:2]

    def uniform(self, low: float, high: float) -> float:
        """Random number between two bounds."""
        return self.rng.uniform(low, high)

    def jitter(self, color: Color, spread: float = 12) -> Color:
        """Random color near a given one, varied mostly in brightness."""
        light, *tint = (self.rng.standard_normal(4) * spread).tolist()
        return tuple(min(255, max(0, c + light + t / 3)) for c, t in zip(color, tint, strict=True))

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """Fill an upright rectangle."""
        cv2.rectangle(self.canvas, self._pixel(left, top), self._pixel(right, bottom), color, -1)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a circle."""
        cv2.circle(self.canvas, self._pixel(x, y), round(radius * self.width), color, -1)

    def ring(self, x: float, y: float, radius: float, color: Color, pen: float) -> None:
        """Draw the outline of a circle."""
        cv2.circle(
            self.canvas, self._pixel(x, y), round(radius * self.width), color, self._pen(pen)
        )

    def line(self, start: Point, end: Point, color: Color, pen: float) -> None:
        """Draw a straight line between two points."""
        cv2.line(self.canvas, self._pixel(*start), self._pixel(*end), color, self._pen(pen))

    def ground(self, top: float, color: Color, grain: float) -> None:
        """Fill everything below ``top`` with a mottled surface.

        Args:
            top: y of the upper edge.
            color: mean color.
            grain: standard deviation of the mottling, in gray levels.
        """
        strip = self.canvas[round(top * self.height) :]
        mottle = self.rng.normal(0, grain, (16, 16, 1)) + self.jitter(color, 8)
        strip[:] = cv2.resize(mottle.clip(0, 255).astype(np.uint8), strip.shape[1::-1])

    def foliage(self, x: float, y: float, size: float, color: Color) -> None:
        """Draw a cluster of discs about ``size`` wide."""
        tufts = self.rng.uniform((-0.7, -0.5, 0.3), (0.7, 0.5, 0.6), (6, 3)) * size
        for dx, dy, radius in tufts.tolist():
            self.disc(x + dx, y + dy * self.width / self.height, radius, self.jitter(color, 9))

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self.width), round(y * self.height)

    def _pen(self, fraction: float) -> int:
        return max(1, round(fraction * self.width))


def street(stage: Stage) -> None:
    """Houses behind a road and a sidewalk, sometimes with a parked car."""
    stage.box(0, 0, 1, 1, stage.jitter((186, 182, 170), 16))
    pitch = stage.uniform(0.4, 0.6)
    for left in np.arange(-stage.uniform(0, pitch), 1, pitch):
        for top in (0.03, 0.24):
            right, bottom = left + pitch / 2, top + 0.13
            stage.box(left, top, right, bottom, WHITE)
            stage.box(left + 0.02, top + 0.01, right - 0.02, bottom - 0.01, stage.jitter(GLASS))
    road, curb = stage.uniform(0.5, 0.56), stage.uniform(0.68, 0.76)
    stage.ground(road, (112, 114, 118), 5)
    if stage.uniform(0, 1) < 0.5:
        _car(stage, stage.uniform(-0.7, 0.7), road)
    stage.ground(curb, (164, 160, 154), 5)
    stage.box(0, curb, 1, curb + 0.02, (206, 204, 198))


def _car(stage: Stage, x: float, y: float) -> None:
    stage.box(x + 0.2, y - 0.12, x + 0.8, y, GLASS)
    stage.box(x, y - 0.05, x + 1, y + 0.06, stage.jitter((130, 90, 90), 40))
    for hub in (0.22, 0.78):
        stage.disc(x + hub, y + 0.06, 0.1, WHEEL)


def brick_wall(stage: Stage) -> None:
    """A brick wall above a strip of paving."""
    foot, courses = stage.uniform(0.74, 0.86), np.arange(24)[:, None]
    bricks = np.linspace(0, 1, stage.width) / stage.uniform(0.17, 0.21) + stage.uniform(0, 1)
    bricks = bricks + courses % 2 / 2
    shade = stage.rng.normal(0, 9, (24, 8))[courses, bricks.astype(int)]
    wall = np.array(stage.jitter((158, 92, 72), 14)) + shade[..., None]
    mortar = stage.jitter((178, 168, 154))
    wall[bricks % 1 < 0.06] = mortar
    rows = stage.canvas[: round(foot * stage.height)]
    wall = wall.clip(0, 255).astype(np.uint8)
    rows[:] = cv2.resize(wall, rows.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    for y in courses[:, 0] / 24 * foot:
        stage.line((0, y), (1, y), mortar, 0.01)
    stage.ground(foot, (128, 124, 122), 8)


def park(stage: Stage) -> None:
    """Sky, trees and grass, crossed by a path."""
    stage.box(0, 0, 1, 1, stage.jitter((190, 214, 232)))
    meadow = stage.uniform(0.36, 0.48)
    for _ in range(3):
        y = meadow - stage.uniform(0.02, 0.2)
        stage.foliage(stage.uniform(0, 1), y, stage.uniform(0.3, 0.5), (78, 124, 66))
    stage.ground(meadow, (116, 164, 84), 9)
    near, far = stage.uniform(0.1, 0.9), stage.uniform(0.2, 0.8)
    path = [(near - 0.6, 1), (far - 0.06, meadow), (far + 0.06, meadow), (near + 0.6, 1)]
    corners = (np.array(path) * (stage.width, stage.height)).astype(np.int32)
    cv2.fillConvexPoly(stage.canvas, corners, stage.jitter((206, 190, 160)))
    if stage.uniform(0, 1) < 0.5:
        trunk = stage.uniform(0, 1)
        stage.box(trunk - 0.05, 0, trunk + 0.05, meadow + 0.14, stage.jitter((104, 80, 62)))
        stage.foliage(trunk, 0, 0.45, (66, 110, 56))


def station(stage: Stage) -> None:
    """A hall with light walls, posters and a tiled floor in perspective."""
    stage.box(0, 0, 1, 1, stage.jitter((212, 212, 204)))
    for left in np.arange(-stage.uniform(0, 0.7), 1, 0.7):
        stage.box(left, 0.1, left + 0.45, 0.4, stage.jitter((120, 130, 150), 45))
        stage.box(left, 0.28, left + 0.45, 0.31, WHITE)
    floor, vanishing = stage.uniform(0.5, 0.62), stage.uniform(-0.2, 1.2)
    stage.ground(floor, (176, 172, 162), 3)
    joint = stage.jitter((136, 132, 126), 6)
    narrowing = 0.25 / (1.25 - floor)
    for x in np.arange(-4, 5, 0.34) + stage.uniform(0, 0.3):
        stage.line((vanishing + (x - vanishing) * narrowing, floor), (x, 1), joint, 0.016)
    for y in floor + np.cumsum(np.linspace(0.02, 0.09, 7)):
        stage.line((0, y), (1, y), joint, 0.016)
    stage.box(0, floor - 0.02, 1, floor, (96, 98, 104))


def shop(stage: Stage) -> None:
    """A shop front with a striped awning, a lit window and a display."""
    stage.box(0, 0, 1, 1, stage.jitter((92, 74, 66)))
    awning, sill, left = stage.uniform(0.1, 0.2), stage.uniform(0.6, 0.7), stage.uniform(-0.5, 0.3)
    stage.box(left, awning, left + 1.1, sill, stage.jitter((238, 214, 160)))
    for x, high in stage.rng.uniform((0.05, 0.06), (1.0, 0.26), (6, 2)) + (left, 0):
        stage.box(x, sill - high, x + 0.13, sill, stage.jitter((150, 130, 120), 50))
    stripes = WHITE, stage.jitter((170, 66, 60), 30)
    for index in range(10):
        x = left - 0.05 + 0.12 * index
        stage.box(x, awning - 0.06, x + 0.12, awning + 0.02, stripes[index % 2])
    stage.ground(0.8, (150, 142, 136), 6)


def fence(stage: Stage) -> None:
    """A yard of gravel behind a fence of wooden boards, under a gray sky."""
    stage.box(0, 0, 1, 1, stage.jitter((172, 180, 192), 18))
    stage.foliage(stage.uniform(0, 1), 0.22, 0.5, (84, 98, 86))
    top, foot = stage.uniform(0.2, 0.3), stage.uniform(0.68, 0.8)
    for left in np.arange(-stage.uniform(0, 0.13), 1, 0.13):
        color = stage.jitter((146, 128, 106), 10)
        stage.box(left, top + stage.uniform(-0.01, 0.01), left + 0.104, foot, color)
    for rail in (0.15, 0.8):
        y = top + rail * (foot - top)
        stage.box(0, y, 1, y + 0.023, (118, 100, 82))
    stage.ground(foot, (140, 136, 130), 14)


def post(stage: Stage) -> None:
    """A post close to the camera, near one side."""
    x, half = stage.rng.choice((0.2, 0.34, 0.68, 0.82)), stage.uniform(0.04, 0.07)
    red, green, blue = stage.jitter((86, 92, 96))
    stage.box(x - half, 0, x + half, 1, (red, green, blue))
    stage.box(x - half, 0, x - half / 3, 1, (red + 24, green + 24, blue + 24))


def bicycle(stage: Stage) -> None:
    """A parked bicycle in front of the legs."""
    rear = np.array((stage.uniform(0.0, 0.5), 0.88))
    front, saddle, bars, crank = rear + ((0.55, 0), (0.17, -0.17), (0.46, -0.19), (0.24, -0.01))
    frame = [rear, saddle, crank, bars, front], [crank, rear], [saddle, bars]
    color = stage.jitter((70, 96, 120), 40)
    for tubes in frame:
        for start, end in zip(tubes, tubes[1:], strict=False):
            stage.line(start, end, color, 0.026)
    for x, y in (rear, front):
        stage.ring(x, y, 0.19, WHEEL, 0.026)


def bush(stage: Stage) -> None:
    """A bush in a lower corner."""
    stage.foliage(stage.rng.choice((0.1, 0.9)), stage.uniform(0.86, 1.0), 0.42, (70, 116, 62))


def passer_by(stage: Stage) -> None:
    """Another person, closer to the camera and cut off by the image border."""
    draw_person(
        stage.canvas,
        sample_person(stage.rng),
        view=stage.uniform(-np.pi, np.pi),
        phase=stage.uniform(0, 2 * np.pi),
        center=stage.width * stage.rng.choice((-0.02, 1.02)),
        foot=stage.height * 1.1,
        height=stage.height * stage.uniform(1.0, 1.12),
    )
