"""Checks of values: their size and depth, the bounds of settings, and paths."""

import math
import operator
import os
import reprlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from reid_dcs.errors import InputError

LEVELS = 20
"""Of nested settings, at most."""
_INTEGERS = range(-(2**63), 2**63)  # 64 bits
_NAME_BYTES, _PATH_BYTES = 255, 4095  # the longest names and paths of Linux
_BOUNDS = {
    "at_least": ("at least", operator.ge),
    "at_most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}
_LARGEST = 2**31 - 1
"""Of a number without an upper bound of its own."""


def check_values(layer: Any, where: str) -> None:
    """Check depth and integers of nested values, without recursion."""
    level = [("", layer)]
    for _ in range(LEVELS):
        below = []
        for name, value in level:
            if isinstance(value, Mapping):
                below += [(f"{name}.{key}".lstrip("."), each) for key, each in value.items()]
            elif isinstance(value, list | tuple):
                below += [(name, each) for each in value]
            elif isinstance(value, int) and value not in _INTEGERS:
                raise InputError(f"{where}: {name}: the number has more than 64 bits")
        level = below
    if level:
        raise InputError(f"{where}: {level[0][0][:60]}: too many levels of nested values")


def checked_path(text: str, where: str) -> str:
    """Expand ``~`` in a path, and check that the system could have a file of this name.

    Raises:
        InputError: the path or a part of it is too long, or it contains a null character.
    """
    path = os.path.expanduser(text)
    content = path.encode(errors="surrogatepass")
    longest = max(map(len, content.split(b"/")))
    if "\0" in path:
        raise InputError(f"{where}: a path has no null characters")
    if longest > _NAME_BYTES or len(content) > _PATH_BYTES:
        raise InputError(
            f"{where}: {reprlib.repr(text)} is too long: a path has at most {_PATH_BYTES} bytes, "
            f"and each name in it {_NAME_BYTES}"
        )
    return path


def check_ranges(group: Any, prefix: str = "") -> None:
    """Check the numbers of a settings object against the bounds of their fields."""
    for item in fields(group):
        name, value = f"{prefix}{item.name}", getattr(group, item.name)
        named = {name: value}
        if isinstance(value, list):
            named = {f"{name}[{index}]": each for index, each in enumerate(value)}
        for name, each in named.items():
            if is_dataclass(each):
                check_ranges(each, f"{name}.")
            elif isinstance(each, list):
                raise InputError(f"configuration: {name} must be a number, not {each}")
            elif each is not None:
                _check_range(name, each, item.metadata.get("bounds", {}))


def _check_range(name: str, number: Any, bounds: Mapping[str, float]) -> None:
    if isinstance(number, float) and not math.isfinite(number):
        raise InputError(f"configuration: {name} must be a finite number, not {number}")
    if not isinstance(number, int | float) or isinstance(number, bool):
        return
    if not {"at_most", "below"} & {*bounds}:
        bounds = {**bounds, "at_most": _LARGEST}
    for bound, limit in bounds.items():
        words, holds = _BOUNDS[bound]
        if not holds(number, limit):
            shown = f", not {number}" if abs(number) < 2**63 else ""  # it may have 5,000 digits
            raise InputError(f"configuration: {name} must be {words} {limit}{shown}")
