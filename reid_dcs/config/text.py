"""Settings as text: YAML files, and ``key=value`` of a command line."""

import os
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from reid_dcs.config.checks import LEVELS
from reid_dcs.config.layers import merge_layers
from reid_dcs.config.omega import UNREADABLE, escaped, first_line
from reid_dcs.config.types import is_switch_or_text, is_text, type_of
from reid_dcs.errors import InputError
from reid_dcs.files import read_text


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        InputError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        content: Any = OmegaConf.to_container(
            OmegaConf.load(StringIO(read_text(os.path.expanduser(path)))), resolve=True
        )
    except (OSError, *UNREADABLE) as error:
        raise InputError(f"configuration file {path}: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"configuration file {path}: expected keys and values, as key: value")
    return content


def parse_overrides(kind: type, overrides: list[str]) -> dict[str, Any]:
    """Parse ``["train.epochs=3", "model.options.windows=1"]`` into a layer.

    Values of text settings are taken literally, other values are parsed as YAML.

    Raises:
        InputError: an override is not ``key=value``, or its value is not YAML.
    """
    layer: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not key or not equals:
            raise InputError(f"expected key=value, not {override!r}")
        if key.count(".") >= LEVELS:
            raise InputError(f"{key[:60]}...: settings have at most {LEVELS} levels")
        value = _parse(type_of(kind, key), override, text)
        for name in reversed(key.split(".")):
            value = {name: value}
        layer = merge_layers(layer, value)
    return layer


def to_yaml(settings: Any) -> str:
    """Format settings as YAML for :func:`read_config`; bytes that are not UTF-8 are escaped."""
    return OmegaConf.to_yaml(OmegaConf.create(escaped(_printable(asdict(settings)))))


def _parse(hint: Any, override: str, text: str) -> Any:
    if is_text(hint):
        return text
    if is_switch_or_text(hint):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
    except UNREADABLE as error:
        raise InputError(f"{reprlib.repr(override)}: {first_line(error)}") from error
    return parsed["value"]


def _printable(value: Any) -> Any:
    """Escape the bytes of paths that are not UTF-8, which YAML cannot hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _printable(below) for key, below in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value
