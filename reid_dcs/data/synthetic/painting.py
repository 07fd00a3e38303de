"""Drawing of a person: body parts from the farthest to the nearest.

The constants are stacks of rings (y, half width, half depth) and limbs, chains of joints (x, y, z),
in body heights; see :mod:`reid_dcs.data.synthetic.figure`. Bags are relative to where they hang.
"""

import numpy as np

from reid_dcs.data.synthetic.cloth import Brush, tinted
from reid_dcs.data.synthetic.figure import Figure, ball, section
from reid_dcs.data.synthetic.person import Color, Person

SKULL = ball(0.932, 0.050, 0.059, 0.068)
SCALP = section(ball(0.936, 0.054, 0.063, 0.069), 1.005, 0.888, 9)
HOOD = np.vstack([section(ball(0.925, 0.062, 0.072, 0.08), 1.005, 0.87), (0.838, 0.066, 0.058)])
DOME = section(ball(0.945, 0.056, 0.066, 0.066), 1.011, 0.95)
HAT_BAND = section(DOME * (1, 1.04, 1.04), 0.968, 0.95, 2)
FACE, CHIN = section(SKULL, 0.968, 0.866), section(SKULL, 0.904, 0.866)
EYE, MOUTH = section(SKULL, 0.938, 0.924, 2), section(SKULL, 0.897, 0.889, 2)
EAR = section(SKULL * (1, 1.1, 1.1), 0.938, 0.91, 3)
# Half width of the visible face, as an angle from the nose; for a bare face, by height.
BARE_FACE, COVERED_FACE, HOODED_FACE = np.minimum(np.linspace(0.9, 2.4, 8), 1.7), 1.2, 0.9
LOCKS = np.array(
    [
        (0.97, 0.054, 0.035),
        (0.92, 0.06, 0.04),
        (0.86, 0.064, 0.042),
        (0.8, 0.06, 0.036),
        (0.765, 0.045, 0.022),
    ]
)
SACK = np.array(
    [
        (0.835, 0.04, 0.02),
        (0.82, 0.07, 0.042),
        (0.7, 0.082, 0.052),
        (0.6, 0.08, 0.056),
        (0.585, 0.07, 0.045),
    ]
)
POCKET = section(SACK, 0.68, 0.61, 2)
HIP_BAG = np.array([(0.06, 0.03, 0.075), (0.05, 0.034, 0.08), (-0.06, 0.036, 0.085)])
HANDBAG = np.array([(-0.03, 0.03, 0.05), (-0.12, 0.038, 0.07)])
HANDLE = np.array([(0, -0.03, -0.03), (0, -0.02, 0), (0, -0.03, 0.03)])
PONYTAIL = np.array([(0, 0.965, -0.055), (0, 0.93, -0.085), (0, 0.84, -0.085)])
NOSE, NECK = np.array([(0, 0.93, 0.05), (0, 0.915, 0.06)]), np.array([(0, 0.83, 0), (0, 0.89, 0)])
BRIM = np.array([(0, 0.955, 0.05), (0, 0.95, 0.112)])
EYE_COLOR = (38, 30, 30)
FAR_LIGHT = 0.8  # brightness of the limbs on the far side


def draw_person(
    canvas: np.ndarray,
    person: Person,
    *,
    view: float,
    phase: float,
    center: float,
    foot: float,
    height: float,
) -> np.ndarray:
    """Draw a walking person on a canvas, clipped to it.

    Args:
        canvas: (H, W, 3) uint8 RGB, modified in place.
        person: identity to draw.
        view: walking direction in radians: 0 towards the viewer, pi/2 to the viewer's right, pi
            away, -pi/2 to the left.
        phase: phase of the stride in radians, from 0 to 2 pi.
        center: pixel column of the body's axis.
        foot: pixel row of the ground under the soles.
        height: body height in pixels, from the soles to the top of the head.

    Returns:
        the canvas.
    """
    figure = Figure(person, view, phase, center, foot, height)
    brush = Brush(canvas, figure)
    parts = brush, figure, person
    near_side = -1 if figure.heading > 0 else 1
    sideways = abs(figure.heading) > 0.3
    brush.cast_shadow()
    if sideways:
        _arm(*parts, -near_side, FAR_LIGHT)
    if figure.facing > 0.15:
        _backpack(*parts)
    if figure.facing > 0:
        _loose_hair(*parts)
    if person.bag_side != near_side or not sideways:
        _hip_bag(*parts)
    _legs(*parts)
    _seat(*parts)
    _torso(*parts)
    _straps(*parts)
    if figure.facing <= 0.15:
        _backpack(*parts)
    if not sideways:
        _arm(*parts, -near_side)
    if person.bag_side == near_side or not sideways:
        _hip_bag(*parts)
    _arm(*parts, near_side)
    _head(*parts)
    if figure.facing <= 0:
        _loose_hair(*parts)
    brush.finish()
    return canvas


def _legs(brush: Brush, figure: Figure, person: Person) -> None:
    far, near = sorted((-1, 1), key=lambda side: figure.nearness(figure.legs[side][1]))
    _leg(brush, figure, person, far, FAR_LIGHT)
    _leg(brush, figure, person, near)


def _leg(brush: Brush, figure: Figure, person: Person, side: int, light: float = 1.0) -> None:
    joints, girth = figure.legs[side], np.sqrt(person.build)
    skin, cloth = tinted(person.skin, light), tinted(person.bottom, light)
    brush.paint(figure.limb(joints[3:], (0.023, 0.018)), tinted(person.shoes, light))
    if person.bottom_cut == "trousers":
        brush.paint(figure.limb(joints[:3], (0.055, 0.042, 0.033), girth), cloth)
        if person.bottom.pattern == "side stripe" and side * figure.heading < 0.25:
            seam = joints[:3] + np.outer((0.05, 0.034, 0.026), (side, 0, 0))
            brush.fill(figure.limb(seam, (0.011,) * 3), cloth.accent)
        return
    brush.paint(figure.limb(joints[:3], (0.05, 0.034, 0.022), girth), skin)
    if person.bottom_cut == "shorts":
        half = joints[:1] + np.outer((0, 0.84), joints[1] - joints[0])
        brush.paint(figure.limb(half, (0.056, 0.047), girth), cloth)


def _seat(brush: Brush, figure: Figure, person: Person) -> None:
    """Draw the lower garment around the hips, or a whole skirt."""
    hips = person.legs
    skirt = person.bottom_cut == "skirt"
    hem = (hips - 0.2, 0.124, 0.112) if skirt else (hips - 0.04, 0.09, 0.064)
    rings = np.array([(hips + 0.06, 0.08, 0.056), (hips, 0.096, 0.066), hem])
    brush.paint(figure.stack(rings * (1, person.build, person.build)), person.bottom)


def _torso(brush: Brush, figure: Figure, person: Person) -> None:
    rings = figure.torso
    brush.paint(figure.limb(NECK, (0.034, 0.03)), tinted(person.skin, 0.9))
    brush.paint(figure.stack(rings), person.top)
    if person.open_front:
        opening = figure.patch(section(rings, 0.85, rings[-1, 0]), 0, 0.05)
        brush.fill(opening, tinted(person.top.color, 0.55))
        lapels = figure.patch(section(rings, 0.85, 0.70), 0, np.linspace(0.7, 0.0, 8))
        brush.fill(lapels, person.top.accent)
    elif person.hair != "hood":
        collar = figure.patch(section(rings, 0.852, 0.815), 0, np.linspace(0.9, 0.1, 8))
        brush.fill(collar, tinted(person.skin, 0.92))
    if person.top.pattern == "logo":
        brush.paint(figure.patch(section(rings, 0.775, 0.695), 0, 0.55), person.top.accent)


def _arm(brush: Brush, figure: Figure, person: Person, side: int, light: float = 1.0) -> None:
    joints = figure.arms[side]
    skin, cloth = tinted(person.skin, light), tinted(person.top, light)
    girth = np.sqrt(person.build) * (1.12 if person.open_front else 1.0)
    if person.bag == "handbag" and side == person.bag_side:
        _handbag(brush, figure, joints[3], tinted(person.bag_color, light))
    brush.paint(figure.limb(joints[2:], (0.019, 0.017)), skin)
    if person.long_sleeves:
        brush.paint(figure.limb(joints[:3], (0.033, 0.031, 0.026), girth), cloth)
    else:
        sleeve = joints[:1] + np.outer((0, 0.62), joints[1] - joints[0])
        brush.paint(figure.limb(joints[:3], (0.03, 0.025, 0.018)), skin)
        brush.paint(figure.limb(sleeve, (0.033, 0.033), girth), cloth)


def _handbag(brush: Brush, figure: Figure, hand: np.ndarray, color: Color) -> None:
    x, y, z = hand
    brush.paint(figure.limb(hand + HANDLE, (0.006,) * 3), color)
    brush.paint(figure.stack(HANDBAG + (y, 0, 0), x, z), color)


def _hip_bag(brush: Brush, figure: Figure, person: Person) -> None:
    if person.bag == "shoulder bag":
        bag, x = HIP_BAG + (person.legs, 0, 0), 0.105 * person.bag_side * person.build
        brush.paint(figure.stack(bag, x, 0.02), person.bag_color)
        flap = figure.stack(bag[:2] - ((0, 0, 0), (0.04, 0, 0)), x, 0.02)
        brush.fill(flap, tinted(person.bag_color, 0.82))


def _backpack(brush: Brush, figure: Figure, person: Person) -> None:
    if person.bag == "backpack":
        z = -0.1 * person.build
        brush.paint(figure.stack(SACK, z=z), person.bag_color)
        brush.fill(figure.patch(POCKET, np.pi, 0.85, z=z), tinted(person.bag_color, 1.25))


def _straps(brush: Brush, figure: Figure, person: Person) -> None:
    """Draw the straps of a bag around the torso."""
    side, color = person.bag_side, tinted(person.bag_color, 0.85)
    if person.bag == "backpack":
        rings = section(figure.torso, 0.835, 0.66)
        for middle in (-0.62, 0.62):
            brush.fill(figure.patch(rings, middle, 0.11), color)
    elif person.bag == "shoulder bag":
        rings = section(figure.torso, 0.835, person.legs + 0.05)
        for start, end in ((-0.7, 1.4), (np.pi + 0.7, np.pi - 1.4)):
            brush.fill(figure.patch(rings, side * np.linspace(start, end, 8), 0.1), color)


def _head(brush: Brush, figure: Figure, person: Person) -> None:
    brush.paint(figure.limb(NOSE, (0.006, 0.010)), person.skin)
    brush.paint(figure.stack(SKULL), person.skin)
    if person.hair == "hood":
        brush.paint(figure.stack(HOOD, z=-0.012), person.top)
        _face(brush, figure, person, HOODED_FACE)
    elif person.hair == "long":
        brush.paint(figure.stack(SCALP, z=-0.006), person.hair_color)
        _face(brush, figure, person, COVERED_FACE)
    else:
        if person.hair != "bald":
            brush.paint(figure.stack(SCALP, z=-0.006), person.hair_color)
        _face(brush, figure, person, BARE_FACE)
        for side in (-1, 1):
            brush.fill(figure.patch(EAR, 1.6 * side, 0.13), tinted(person.skin, 0.88))
        _hat(brush, figure, person)


def _face(brush: Brush, figure: Figure, person: Person, spread: float | np.ndarray) -> None:
    """Draw the face, visible up to an angle ``spread`` from the nose, with its features."""
    brush.fill(figure.patch(FACE, 0, spread), person.skin)
    if person.beard:
        brush.fill(figure.patch(CHIN, 0, 1.3), person.hair_color)
    for side in (-1, 1):
        brush.fill(figure.patch(EYE, 0.45 * side, 0.14), EYE_COLOR)
    brush.fill(figure.patch(MOUTH, 0, 0.3), tinted(person.skin, 0.62))


def _hat(brush: Brush, figure: Figure, person: Person) -> None:
    if person.hair in ("cap", "beanie"):
        brush.paint(figure.stack(DOME), person.hat_color)
    if person.hair == "beanie":
        brush.paint(figure.stack(HAT_BAND), tinted(person.hat_color, 0.85))
    elif person.hair == "cap" and figure.facing > -0.75:
        brush.paint(figure.limb(BRIM, (0.012, 0.008)), tinted(person.hat_color, 0.85))
        brush.fill(figure.patch(HAT_BAND, 0, 1.0), tinted(person.hat_color, 0.8))


def _loose_hair(brush: Brush, figure: Figure, person: Person) -> None:
    if person.hair == "long":
        brush.paint(figure.stack(LOCKS, z=-0.035), person.hair_color)
    elif person.hair == "ponytail":
        brush.paint(figure.limb(PONYTAIL, (0.016, 0.024, 0.01)), person.hair_color)
