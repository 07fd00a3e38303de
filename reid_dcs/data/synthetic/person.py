"""Synthetic identities: body, hair, clothes, shoes and bag.

The tables map each choice to its sampling weight.
"""

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
"""RGB, 0 to 255."""

CLOTH: dict[str, Color] = {
    "black": (38, 38, 44),
    "white": (234, 232, 226),
    "gray": (132, 135, 140),
    "navy": (36, 50, 96),
    "blue": (54, 112, 190),
    "denim": (84, 112, 152),
    "red": (190, 48, 50),
    "burgundy": (112, 36, 56),
    "green": (52, 124, 82),
    "olive": (108, 110, 66),
    "beige": (206, 184, 146),
    "brown": (116, 80, 54),
    "mustard": (222, 174, 58),
    "pink": (226, 148, 168),
}
BOTTOM_CLOTHS = {
    ("denim", "white"): 4,
    ("black", "white"): 4,
    ("navy", "red"): 3,
    ("gray", "black"): 2,
    ("beige", "brown"): 2,
    ("olive", "black"): 1,
    ("burgundy", "pink"): 1,
    ("brown", "beige"): 1,
}
SHOES = {"black": 4, "white": 4, "brown": 2, "red": 1, "gray": 1}
FAIR_SKIN = {(246, 212, 186): 3, (230, 184, 150): 4}
SKIN = FAIR_SKIN | {(198, 146, 110): 3, (142, 98, 70): 2, (96, 66, 50): 2}
DARK_HAIR = {(36, 30, 30): 1, (72, 48, 36): 1, (124, 82, 48): 1}
HAIR = DARK_HAIR | {(204, 166, 96): 1, (156, 74, 40): 1, (176, 176, 178): 1}
HAIR_STYLES = {"short": 5, "long": 4, "ponytail": 3, "bald": 1, "cap": 2, "beanie": 2, "hood": 2}
BEARDED_STYLES = ("short", "bald", "cap", "beanie")
TOP_CUTS = {"t-shirt": 4, "jumper": 3, "jacket": 3, "coat": 2}
OPEN_CUTS = ("jacket", "coat")
TOP_PATTERNS = {
    "plain": 3,
    "stripes": 2,
    "bars": 2,
    "checks": 2,
    "dots": 2,
    "band": 2,
    "two-tone": 2,
    "logo": 3,
}
BOTTOM_CUTS = {"trousers": 6, "shorts": 2, "skirt": 2}
BOTTOM_PATTERNS = {"plain": 6, "side stripe": 2, "checks": 1}
BAGS = {"none": 4, "backpack": 3, "shoulder bag": 2, "handbag": 2}
SIDES = {-1: 1, 1: 1}


@dataclass(frozen=True)
class Fabric:
    """Fabric with a pattern.

    Attributes:
        color, accent: colors of the pattern.
        pattern: one of TOP_PATTERNS or BOTTOM_PATTERNS.
        pitch: length of a repeat of the pattern, in body heights.
    """

    color: Color
    accent: Color
    pattern: str
    pitch: float


@dataclass(frozen=True)
class Person:
    """Appearance of one identity.

    Attributes:
        stature: factor on the body height, 0.93 to 1.05.
        build: factor on the girth, 0.88 to 1.2.
        shoulders: factor on the shoulder width, 0.9 to 1.06.
        legs: height of the hips as a fraction of the body height, 0.49 to 0.54.
        hair, top_cut, bottom_cut, bag: one of HAIR_STYLES, TOP_CUTS, BOTTOM_CUTS and BAGS.
        hat_color: color of a cap or beanie.
        bag_side: 1 for the person's left, -1 for the right.
    """

    stature: float
    build: float
    shoulders: float
    legs: float
    skin: Color
    hair: str
    hair_color: Color
    hat_color: Color
    beard: bool
    top: Fabric
    top_cut: str
    long_sleeves: bool
    bottom: Fabric
    bottom_cut: str
    shoes: Color
    bag: str
    bag_color: Color
    bag_side: int

    @property
    def open_front(self) -> bool:
        """True for garments worn open over another one."""
        return self.top_cut in OPEN_CUTS


def sample_person(rng: np.random.Generator) -> Person:
    """Sample a random identity.

    All identities share a small palette of clothing colors, each slightly varied, so that color
    alone rarely identifies a person.
    """

    def pick(weights: dict, excluded: str | None = None):
        options = [option for option in weights if option != excluded]
        probabilities = np.array([weights[option] for option in options], float)
        return options[rng.choice(len(options), p=probabilities / probabilities.sum())]

    def jitter(color: Color, spread: int = 9) -> Color:
        varied = np.clip(color + rng.integers(-spread, spread + 1, 3), 0, 255)
        return tuple(varied.tolist())

    def two_color_names() -> list[str]:
        return rng.choice(list(CLOTH), 2, replace=False).tolist()

    cut, tone = pick(TOP_CUTS), pick(SKIN)
    pattern = pick(TOP_PATTERNS, excluded="logo" if cut in OPEN_CUTS else None)
    hair = pick(HAIR_STYLES, excluded="hood" if cut == "t-shirt" else None)
    top, accent = (jitter(CLOTH[name]) for name in two_color_names())
    bottom, second = (jitter(CLOTH[name]) for name in pick(BOTTOM_CLOTHS))
    bag, hat = (jitter(CLOTH[name]) for name in two_color_names())
    return Person(
        stature=rng.uniform(0.93, 1.05),
        build=rng.uniform(0.88, 1.2),
        shoulders=rng.uniform(0.9, 1.06),
        legs=rng.uniform(0.49, 0.54),
        skin=jitter(tone, 5),
        hair=hair,
        hair_color=jitter(pick(HAIR if tone in FAIR_SKIN else DARK_HAIR), 6),
        hat_color=hat,
        beard=hair in BEARDED_STYLES and rng.random() < 0.3,
        top=Fabric(top, accent, pattern, rng.uniform(0.05, 0.085)),
        top_cut=cut,
        long_sleeves=cut != "t-shirt" or rng.random() < 0.2,
        bottom=Fabric(bottom, second, pick(BOTTOM_PATTERNS), rng.uniform(0.045, 0.07)),
        bottom_cut=pick(BOTTOM_CUTS),
        shoes=jitter(CLOTH[pick(SHOES)]),
        bag=pick(BAGS),
        bag_color=bag,
        bag_side=pick(SIDES),
    )
