"""Options of attention in files of weights: none that decides what a network computes is left out.

A default may change; a trained network must not. So files are written with the options below
spelled out, and a file without them is one written before, when they had other defaults.
"""

from collections.abc import Mapping
from typing import Any

from reid_dcs.attention.bounds import DEFAULT_BOUNDS
from reid_dcs.attention.query import DEFAULT_MODE

LEARNED = ("dcs", "dcs_sw", "dcs_pos", "dcs_dim")
"""The kinds whose windows are fractional, so that these options matter."""
DEFAULTS = {"mode": DEFAULT_MODE, "bounds": DEFAULT_BOUNDS}
BEFORE = {"mode": "mask", "bounds": "sigmoid"}


def options_to_write(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model, ``<backbone>_<attention>``, with today's defaults spelled out."""
    return _completed(model, options, DEFAULTS)


def options_of_file(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file of weights; what it does not say is as it was before it was said."""
    return _completed(model, options, BEFORE)


def _completed(model: str, options: Mapping[str, Any], left_out: dict[str, str]) -> dict[str, Any]:
    learned = model.endswith(tuple(f"_{kind}" for kind in LEARNED))
    return (left_out if learned else {}) | dict(options)
