"""Checks of the options of attention blocks; each returns its argument or raises ValueError."""

import math

from reid_dcs.attention.bounds import BOUNDS


def checked_bounds(bounds: str) -> str:
    if bounds not in tuple(BOUNDS):
        raise ValueError(f"bounds must be one of {tuple(BOUNDS)}, not {bounds!r}")
    return bounds


def checked_length(min_length: float) -> float:
    if not isinstance(min_length, int | float) or not min_length > 0:
        raise ValueError(f"min_length must be a number above 0, not {min_length!r}")
    return min_length


def checked_ratio(ratio: float) -> float:
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise ValueError(f"ratio must be a number above 0 and at most 1, not {ratio!r}")
    return ratio


def checked_temperature(temperature: float) -> float:
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a number above 0, not {temperature!r}")
    return temperature
