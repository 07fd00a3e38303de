"""3D model of a walking body and its projection to polygons.

Coordinates are in body heights: x to the person's left (the viewer's right if they face each
other), y up from the ground, z forward. There are two kinds of solids: a limb is a tapering tube
along a chain of joints (x, y, z); a stack consists of elliptic rings (y, half width, half depth).
A patch is a part of the surface of a stack: it turns with the body and is hidden behind it.
"""

import numpy as np
from cv2 import convexHull

from reid_dcs.data.synthetic.person import Person

CAMERA_TILT = 0.13  # the camera looks down: pixels down per pixel of depth
# Octagon, as x and y offsets.
CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4])
WHOLE = np.array([[-1.0], [1.0]])  # left and right edge of a silhouette
NECKLINE = [
    (0.852, 0.030, 0.034),
    (0.838, 0.062, 0.044),
    (0.822, 0.096, 0.052),
    (0.795, 0.112, 0.060),
    (0.730, 0.106, 0.068),
    (0.640, 0.090, 0.060),
]

Polygons = list[np.ndarray]


class Figure:
    """Joints of a walking body, and projection of its limbs, stacks and patches to pixels.

    Polygons are (n, 2) int32 pixel coordinates and y-monotone, as ``fillConvexPoly`` requires.

    Attributes:
        facing: cosine of the view: 1 if the person faces the viewer, -1 if seen from behind.
        heading: sine of the view: 1 if the person walks to the viewer's right, -1 to the left.
        height: body height in pixels.
        origin: pixel (x, y) of the body's axis at y = 0, placed so that the lower foot is on the
            ground.
        legs: by side, -1 (right) and 1 (left): hip, knee, ankle, heel and toe, (5, 3).
        arms: by side: shoulder, elbow, wrist and fingertips, (4, 3).
        torso: rings of the upper garment from the neck to its hem, (n, 3).
    """

    def __init__(
        self, person: Person, view: float, phase: float, center: float, foot: float, height: float
    ) -> None:
        """Pose the body; the arguments are those of ``draw_person``."""
        self.view, self.height = view, height
        self.facing, self.heading = float(np.cos(view)), float(np.sin(view))
        right, down = (self.facing, 0.0, self.heading), (-self.heading, 0.0, self.facing)
        self._axes = height * np.array([right, np.multiply(CAMERA_TILT, down) - (0, 1, 0)]).T
        self.legs = {side: _leg(person, side, phase + (side < 0) * np.pi) for side in (-1, 1)}
        self.arms = {side: _arm(person, side, phase + (side > 0) * np.pi) for side in (-1, 1)}
        self.torso = _torso(person)
        lift = min(joints[2:, 1].min() for joints in self.legs.values()) - 0.02
        self.origin = np.array([center, foot + height * lift])

    def nearness(self, point: np.ndarray) -> float:
        """Depth of a point (3,) towards the viewer, in body heights."""
        return point[2] * self.facing - point[0] * self.heading

    def limb(self, joints: np.ndarray, radii, girth: float = 1.0) -> Polygons:
        """Project a limb to one polygon per bone.

        Args:
            joints: (n, 3).
            radii: (n,) radius at each joint.
            girth: factor on the radii.
        """
        centers = self.origin + joints @ self._axes
        discs = centers[:, None] + np.multiply.outer(radii, CIRCLE) * (girth * self.height)
        discs = np.rint(discs).astype(np.int32)
        return [convexHull(discs[i : i + 2].reshape(-1, 2))[:, 0] for i in range(len(discs) - 1)]

    def stack(self, rings: np.ndarray, x: float = 0.0, z: float = 0.0) -> Polygons:
        """Project a stack of rings (n, 3) with its axis at x, z to its silhouette."""
        return self._surface(rings, WHOLE, x, z)

    def patch(self, rings: np.ndarray, middle, spread, z: float = 0.0) -> Polygons:
        """Project the visible part of a patch of a stack; empty if it is hidden.

        Args:
            rings: (n, 3) rings of the stack.
            middle, spread: the patch covers the angles from ``middle - spread`` to
                ``middle + spread``, in radians from the front towards the person's left; numbers
                or one angle per ring, (n,).
            z: position of the axis.
        """
        turn = (middle + self.view + np.pi) % (2 * np.pi) - np.pi
        edges = np.array([turn - spread, turn + spread]).reshape(2, -1)
        edges = np.sin(edges.clip(-np.pi / 2, np.pi / 2))
        return self._surface(rings, edges, 0.0, z) if (edges[0] < edges[1]).any() else []

    def _surface(self, rings: np.ndarray, edges: np.ndarray, x: float, z: float) -> Polygons:
        """Outline between two edges, (2, n) fractions of the half width from the axis, -1 to 1."""
        y, wide, deep = rings.T
        foot = self.origin + (x, 0.0, z) @ self._axes
        reach = self.height * np.hypot(wide * self.facing, deep * self.heading)
        outline = np.empty((2, len(y), 2))
        outline[..., 0] = foot[0] + reach * edges
        outline[..., 1] = foot[1] - y * self.height
        outline[1] = outline[1, ::-1]
        return [np.rint(outline.reshape(-1, 2)).astype(np.int32)]


def section(rings: np.ndarray, top: float, bottom: float, count: int = 8) -> np.ndarray:
    """Part of a stack between two heights, resampled to ``count`` rings, (count, 3)."""
    y = np.linspace(top, bottom, count)
    wide, deep = (np.interp(-y, -rings[:, 0], rings[:, axis]) for axis in (1, 2))
    return np.array([y, wide, deep]).T


def ball(y: float, wide: float, deep: float, tall: float) -> np.ndarray:
    """Rings (13, 3) of an ellipsoid at height y with radii ``wide``, ``deep`` and ``tall``."""
    slope = np.linspace(np.pi / 2, -np.pi / 2, 13)
    return np.array([y + tall * np.sin(slope), wide * np.cos(slope), deep * np.cos(slope)]).T


def _leg(person: Person, side: int, stride: float) -> np.ndarray:
    """Joints of a leg, (5, 3), at a phase of its stride in radians."""
    bone = (person.legs - 0.045) / 2
    thigh = 0.33 * np.sin(stride)
    shin = thigh - 0.08 - 0.72 * max(0.0, np.cos(stride + 0.3)) ** 2
    hip = np.array([0.047 * side * person.build, person.legs, 0.0])
    knee = hip + bone * np.array([0, -np.cos(thigh), np.sin(thigh)])
    ankle = knee + bone * np.array([-0.03 * side, -np.cos(shin), np.sin(shin)])
    along = np.array([0.08 * side, np.sin(0.65 * shin), np.cos(0.65 * shin)])
    sole = ankle - (0, 0.024, 0)
    return np.array([hip, knee, ankle, sole - 0.018 * along, sole + 0.088 * along])


def _arm(person: Person, side: int, swing: float) -> np.ndarray:
    """Joints of an arm, (4, 3), at a phase of its swing in radians."""
    carries = person.bag == "handbag" and side == person.bag_side
    upper = (0.12 if carries else 0.42) * np.sin(swing) - 0.05
    fore = upper + (0.1 if carries else 0.3 + 0.25 * max(0.0, np.sin(swing)))
    shoulder = np.array([0.1 * side * person.build * person.shoulders, 0.788, 0.0])
    elbow = shoulder + 0.168 * np.array([0.16 * side, -np.cos(upper), np.sin(upper)])
    forward = np.array([0.06 * side, -np.cos(fore), np.sin(fore)])
    return np.array([shoulder, elbow, elbow + 0.142 * forward, elbow + 0.18 * forward])


def _torso(person: Person) -> np.ndarray:
    """Rings of the upper garment, (n, 3)."""
    hips = person.legs
    hem = {
        "t-shirt": [(hips - 0.03, 0.097, 0.066)],
        "jumper": [(hips - 0.015, 0.09, 0.062)],
        "jacket": [(hips - 0.05, 0.104, 0.074)],
        "coat": [(hips - 0.08, 0.106, 0.08), (0.31, 0.125, 0.108)],
    }[person.top_cut]
    rings = np.array([*NECKLINE, (hips + 0.02, 0.094, 0.064), *hem])
    rings[:5, 1] *= person.shoulders
    rings[1:, 1:] *= person.build * (1.06 if person.open_front else 1.0)
    return rings
