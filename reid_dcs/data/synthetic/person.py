"""Who a synthetic pedestrian is: a body, hair, clothes, shoes and a bag.

The tables name what a person may have and how often: a weight stands behind each choice.
"""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

CLOTH: dict[str, Colour] = {
    "black": (38, 38, 44),
    "white": (234, 232, 226),
    "grey": (132, 135, 140),
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
    ("grey", "black"): 2,
    ("beige", "brown"): 2,
    ("olive", "black"): 1,
    ("burgundy", "pink"): 1,
    ("brown", "beige"): 1,
}
SHOES = {"black": 4, "white": 4, "brown": 2, "red": 1, "grey": 1}
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
    """A cloth of a main colour and an accent; pitch is a repeat's length in body heights."""

    colour: Colour
    accent: Colour
    pattern: str
    pitch: float


@dataclass(frozen=True)
class Person:
    """Everything that makes an identity. Colours are RGB from 0 to 255.

    Attributes:
        stature, build, shoulders: factors on height, girth and shoulder width, within
            0.93 to 1.05, 0.88 to 1.2 and 0.9 to 1.06.
        legs: height of the hips as a share of the whole height, 0.49 to 0.54.
        hair, top_cut, bottom_cut, bag: one of HAIR_STYLES, TOP_CUTS, BOTTOM_CUTS and BAGS.
        hat_colour: of a cap or a beanie.
        bag_side: 1 for the person's left, the viewer's right when they meet, else -1.
    """

    stature: float
    build: float
    shoulders: float
    legs: float
    skin: Colour
    hair: str
    hair_colour: Colour
    hat_colour: Colour
    beard: bool
    top: Fabric
    top_cut: str
    long_sleeves: bool
    bottom: Fabric
    bottom_cut: str
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_side: int

    @property
    def open_front(self) -> bool:
        """Whether the upper garment is worn over another and closes in front."""
        return self.top_cut in OPEN_CUTS


def sample_person(rng: np.random.Generator) -> Person:
    """Return a random identity.

    Clothes come from a small palette that people share, each dyed a little differently, so that
    a colour alone seldom tells who somebody is.
    """

    def pick(weights: dict, barred: str | None = None):
        options = [option for option in weights if option != barred]
        shares = np.array([weights[option] for option in options], float)
        return options[rng.choice(len(options), p=shares / shares.sum())]

    def dye(colour: Colour, spread: int = 9) -> Colour:
        dyed = np.clip(colour + rng.integers(-spread, spread + 1, 3), 0, 255)
        return tuple(dyed.tolist())

    def two_cloths() -> list[str]:
        return rng.choice(list(CLOTH), 2, replace=False).tolist()

    cut, tone = pick(TOP_CUTS), pick(SKIN)
    pattern = pick(TOP_PATTERNS, barred="logo" if cut in OPEN_CUTS else None)
    hair = pick(HAIR_STYLES, barred="hood" if cut == "t-shirt" else None)
    top, accent = (dye(CLOTH[name]) for name in two_cloths())
    bottom, second = (dye(CLOTH[name]) for name in pick(BOTTOM_CLOTHS))
    bag, hat = (dye(CLOTH[name]) for name in two_cloths())
    return Person(
        stature=rng.uniform(0.93, 1.05),
        build=rng.uniform(0.88, 1.2),
        shoulders=rng.uniform(0.9, 1.06),
        legs=rng.uniform(0.49, 0.54),
        skin=dye(tone, 5),
        hair=hair,
        hair_colour=dye(pick(HAIR if tone in FAIR_SKIN else DARK_HAIR), 6),
        hat_colour=hat,
        beard=hair in BEARDED_STYLES and rng.random() < 0.3,
        top=Fabric(top, accent, pattern, rng.uniform(0.05, 0.085)),
        top_cut=cut,
        long_sleeves=cut != "t-shirt" or rng.random() < 0.2,
        bottom=Fabric(bottom, second, pick(BOTTOM_PATTERNS), rng.uniform(0.045, 0.07)),
        bottom_cut=pick(BOTTOM_CUTS),
        shoes=dye(CLOTH[pick(SHOES)]),
        bag=pick(BAGS),
        bag_colour=bag,
        bag_side=pick(SIDES),
    )
