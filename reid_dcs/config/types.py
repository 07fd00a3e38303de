"""Types of settings: of a name such as ``train.epochs`` in a settings class."""

from dataclasses import is_dataclass
from typing import Any, Literal, get_origin, get_type_hints


def has_setting(kind: type, name: str) -> bool:
    """Check if a settings class has a setting or group, such as ``data.root``."""
    return type_of(kind, name) is not None


def type_of(kind: type, name: str) -> Any:
    """Type of a setting; Any in a group without fixed keys; None if there is no such setting."""
    hint: Any = kind
    for part in name.split("."):
        if get_origin(hint) is dict or hint is Any:
            return Any
        hint = get_type_hints(hint).get(part) if is_dataclass(hint) else None
    return hint


def is_text(hint: Any) -> bool:
    """Check if values of a type are text, whatever they look like."""
    return hint is str or get_origin(hint) is Literal


def is_switch_or_text(hint: Any) -> bool:
    """Check if values of a type are text, or true or false."""
    return hint == bool | str
