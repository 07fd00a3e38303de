"""Where people walk, and what stands in the way.

Places and lengths are shares of the picture, x and thicknesses of its width, y of its height, so
a scene looks the same at any size. A scene covers the whole picture, an obstacle a part of it.
"""

import cv2
import numpy as np

from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Colour, sample_person

GLASS, WHITE, WHEEL = (88, 104, 122), (236, 234, 228), (36, 36, 38)


class Stage:
    """A canvas (H, W, 3), uint8 RGB, to build a scene on, and the chance that varies it."""

    def __init__(self, canvas: np.ndarray, rng: np.random.Generator) -> None:
        self.canvas, self.rng = canvas, rng
        self.tall, self.wide = canvas.shape[:2]

    def chance(self, low: float, high: float) -> float:
        """Return a random number between two bounds."""
        return self.rng.uniform(low, high)

    def dye(self, colour: Colour, spread: float = 12) -> Colour:
        """Return a colour near another one, varied mostly in brightness."""
        light, *tint = (self.rng.standard_normal(4) * spread).tolist()
        return tuple(min(255, max(0, c + light + t / 3)) for c, t in zip(colour, tint, strict=True))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        cv2.rectangle(self.canvas, self._pixel(left, top), self._pixel(right, bottom), colour, -1)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        cv2.circle(self.canvas, self._pixel(x, y), round(radius * self.wide), colour, -1)

    def ring(self, x: float, y: float, radius: float, colour: Colour, pen: float) -> None:
        """Draw a circle's line."""
        cv2.circle(
            self.canvas, self._pixel(x, y), round(radius * self.wide), colour, self._pen(pen)
        )

    def line(self, start: np.ndarray, end: np.ndarray, colour: Colour, pen: float) -> None:
        """Draw a straight line between two points (x, y)."""
        cv2.line(self.canvas, self._pixel(*start), self._pixel(*end), colour, self._pen(pen))

    def ground(self, top: float, colour: Colour, grain: float) -> None:
        """Cover everything below a line with a mottled surface, its grain in grey levels."""
        strip = self.canvas[round(top * self.tall) :]
        mottle = self.rng.normal(0, grain, (16, 16, 1)) + self.dye(colour, 8)
        strip[:] = cv2.resize(mottle.clip(0, 255).astype(np.uint8), strip.shape[1::-1])

    def foliage(self, x: float, y: float, size: float, colour: Colour) -> None:
        """Draw a heap of round tufts, size wide."""
        tufts = self.rng.uniform((-0.7, -0.5, 0.3), (0.7, 0.5, 0.6), (6, 3)) * size
        for dx, dy, radius in tufts.tolist():
            self.disc(x + dx, y + dy * self.wide / self.tall, radius, self.dye(colour, 9))

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self.wide), round(y * self.tall)

    def _pen(self, share: float) -> int:
        return max(1, round(share * self.wide))


def street(stage: Stage) -> None:
    """Houses behind a road, a kerb and a pavement, sometimes with a parked car."""
    stage.box(0, 0, 1, 1, stage.dye((186, 182, 170), 16))
    pitch = stage.chance(0.4, 0.6)
    for left in np.arange(-stage.chance(0, pitch), 1, pitch):
        for top in (0.03, 0.24):
            right, bottom = left + pitch / 2, top + 0.13
            stage.box(left, top, right, bottom, WHITE)
            stage.box(left + 0.02, top + 0.01, right - 0.02, bottom - 0.01, stage.dye(GLASS))
    road, kerb = stage.chance(0.5, 0.56), stage.chance(0.68, 0.76)
    stage.ground(road, (112, 114, 118), 5)
    if stage.chance(0, 1) < 0.5:
        _car(stage, stage.chance(-0.7, 0.7), road)
    stage.ground(kerb, (164, 160, 154), 5)
    stage.box(0, kerb, 1, kerb + 0.02, (206, 204, 198))


def _car(stage: Stage, x: float, y: float) -> None:
    stage.box(x + 0.2, y - 0.12, x + 0.8, y, GLASS)
    stage.box(x, y - 0.05, x + 1, y + 0.06, stage.dye((130, 90, 90), 40))
    for hub in (0.22, 0.78):
        stage.disc(x + hub, y + 0.06, 0.1, WHEEL)


def brick_wall(stage: Stage) -> None:
    """A wall with courses of uneven bricks above a strip of paving."""
    foot, courses = stage.chance(0.74, 0.86), np.arange(24)[:, None]
    bricks = np.linspace(0, 1, stage.wide) / stage.chance(0.17, 0.21) + stage.chance(0, 1)
    bricks = bricks + courses % 2 / 2
    shade = stage.rng.normal(0, 9, (24, 8))[courses, bricks.astype(int)]
    wall = np.array(stage.dye((158, 92, 72), 14)) + shade[..., None]
    mortar = stage.dye((178, 168, 154))
    wall[bricks % 1 < 0.06] = mortar
    rows = stage.canvas[: round(foot * stage.tall)]
    wall = wall.clip(0, 255).astype(np.uint8)
    rows[:] = cv2.resize(wall, rows.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    for y in courses[:, 0] / 24 * foot:
        stage.line((0, y), (1, y), mortar, 0.01)
    stage.ground(foot, (128, 124, 122), 8)


def park(stage: Stage) -> None:
    """Sky, trees and grass, crossed by a path."""
    stage.box(0, 0, 1, 1, stage.dye((190, 214, 232)))
    meadow = stage.chance(0.36, 0.48)
    for _ in range(3):
        y = meadow - stage.chance(0.02, 0.2)
        stage.foliage(stage.chance(0, 1), y, stage.chance(0.3, 0.5), (78, 124, 66))
    stage.ground(meadow, (116, 164, 84), 9)
    near, far = stage.chance(0.1, 0.9), stage.chance(0.2, 0.8)
    path = [(near - 0.6, 1), (far - 0.06, meadow), (far + 0.06, meadow), (near + 0.6, 1)]
    corners = np.int32(np.array(path) * (stage.wide, stage.tall))
    cv2.fillConvexPoly(stage.canvas, corners, stage.dye((206, 190, 160)))
    if stage.chance(0, 1) < 0.5:
        trunk = stage.chance(0, 1)
        stage.box(trunk - 0.05, 0, trunk + 0.05, meadow + 0.14, stage.dye((104, 80, 62)))
        stage.foliage(trunk, 0, 0.45, (66, 110, 56))


def station(stage: Stage) -> None:
    """A hall with light walls, posters and a tiled floor seen in perspective."""
    stage.box(0, 0, 1, 1, stage.dye((212, 212, 204)))
    for left in np.arange(-stage.chance(0, 0.7), 1, 0.7):
        stage.box(left, 0.1, left + 0.45, 0.4, stage.dye((120, 130, 150), 45))
        stage.box(left, 0.28, left + 0.45, 0.31, WHITE)
    floor, vanishing = stage.chance(0.5, 0.62), stage.chance(-0.2, 1.2)
    stage.ground(floor, (176, 172, 162), 3)
    joint = stage.dye((136, 132, 126), 6)
    narrowing = 0.25 / (1.25 - floor)
    for x in np.arange(-4, 5, 0.34) + stage.chance(0, 0.3):
        stage.line((vanishing + (x - vanishing) * narrowing, floor), (x, 1), joint, 0.016)
    for y in floor + np.cumsum(np.linspace(0.02, 0.09, 7)):
        stage.line((0, y), (1, y), joint, 0.016)
    stage.box(0, floor - 0.02, 1, floor, (96, 98, 104))


def shop(stage: Stage) -> None:
    """A shop front with a striped awning, a lit window and things on display."""
    stage.box(0, 0, 1, 1, stage.dye((92, 74, 66)))
    awning, sill, left = stage.chance(0.1, 0.2), stage.chance(0.6, 0.7), stage.chance(-0.5, 0.3)
    stage.box(left, awning, left + 1.1, sill, stage.dye((238, 214, 160)))
    for x, high in stage.rng.uniform((0.05, 0.06), (1.0, 0.26), (6, 2)) + (left, 0):
        stage.box(x, sill - high, x + 0.13, sill, stage.dye((150, 130, 120), 50))
    stripes = WHITE, stage.dye((170, 66, 60), 30)
    for index in range(10):
        x = left - 0.05 + 0.12 * index
        stage.box(x, awning - 0.06, x + 0.12, awning + 0.02, stripes[index % 2])
    stage.ground(0.8, (150, 142, 136), 6)


def fence(stage: Stage) -> None:
    """A yard of gravel behind a fence of wooden boards, under a grey sky."""
    stage.box(0, 0, 1, 1, stage.dye((172, 180, 192), 18))
    stage.foliage(stage.chance(0, 1), 0.22, 0.5, (84, 98, 86))
    top, foot = stage.chance(0.2, 0.3), stage.chance(0.68, 0.8)
    for left in np.arange(-stage.chance(0, 0.13), 1, 0.13):
        colour = stage.dye((146, 128, 106), 10)
        stage.box(left, top + stage.chance(-0.01, 0.01), left + 0.104, foot, colour)
    for rail in (0.15, 0.8):
        y = top + rail * (foot - top)
        stage.box(0, y, 1, y + 0.023, (118, 100, 82))
    stage.ground(foot, (140, 136, 130), 14)


def post(stage: Stage) -> None:
    """A post near the lens, close to one side."""
    x, half = stage.rng.choice((0.2, 0.34, 0.68, 0.82)), stage.chance(0.04, 0.07)
    colour = stage.dye((86, 92, 96))
    stage.box(x - half, 0, x + half, 1, colour)
    stage.box(x - half, 0, x - half / 3, 1, tuple(c + 24 for c in colour))


def bicycle(stage: Stage) -> None:
    """A parked bicycle in front of the legs."""
    rear = np.array((stage.chance(0.0, 0.5), 0.88))
    front, saddle, bars, crank = rear + ((0.55, 0), (0.17, -0.17), (0.46, -0.19), (0.24, -0.01))
    frame = [rear, saddle, crank, bars, front], [crank, rear], [saddle, bars]
    colour = stage.dye((70, 96, 120), 40)
    for tubes in frame:
        for start, end in zip(tubes, tubes[1:], strict=False):
            stage.line(start, end, colour, 0.026)
    for hub in (rear, front):
        stage.ring(*hub, 0.19, WHEEL, 0.026)


def bush(stage: Stage) -> None:
    """A bush that hides a corner at the bottom."""
    stage.foliage(stage.rng.choice((0.1, 0.9)), stage.chance(0.86, 1.0), 0.42, (70, 116, 62))


def passer_by(stage: Stage) -> None:
    """Somebody else, nearer to the lens and cut by the side of the picture."""
    draw_person(
        stage.canvas,
        sample_person(stage.rng),
        view=stage.chance(-np.pi, np.pi),
        phase=stage.chance(0, 2 * np.pi),
        centre=stage.wide * stage.rng.choice((-0.02, 1.02)),
        foot=stage.tall * 1.1,
        height=stage.tall * stage.chance(1.0, 1.12),
    )
