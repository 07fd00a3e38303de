"""Layers of settings from files, the command line and Python: reading, checking, merging."""

import math
import operator
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from reid_dcs.config.settings import RENAMED, SETTINGS, PrepareData, TaskRun
from reid_dcs.errors import InputError
from reid_dcs.files import read_text

Settings = TypeVar("Settings")
"""One of the classes of :data:`reid_dcs.config.SETTINGS`."""

_UNREADABLE = (  # what OmegaConf and PyYAML raise for text and values that do not fit
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)
_LEVELS = 20  # of nested settings
_INTEGERS = range(-(2**63), 2**63)  # 64 bits
_NAME_BYTES, _PATH_BYTES = 255, 4095  # the longest names and paths of Linux

Layer = TaskRun | PrepareData | Mapping[str, Any]
"""Settings to merge: a nested mapping of some of them, or an object of a settings class."""


def compose(kind: type[Settings], *layers: Layer) -> Settings:
    """Merge layers into the defaults of a command's settings; later layers win.

    Args:
        kind: a class of :data:`SETTINGS`, such as :class:`TrainRun`.
        layers: nested mappings, or objects of a settings class.

    Raises:
        InputError: an unknown key, a key of other commands, a wrong type or a value out of range.
    """
    plain = [_escaped(as_layer(kind, layer)) for layer in layers]
    try:
        settings: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), *plain))
    except _UNREADABLE as error:
        full_key = getattr(error, "full_key", None)
        key = f"{full_key}: " if full_key else ""
        raise InputError(f"configuration: {key}{_reason(error)}") from error
    _check_ranges(settings)
    if getattr(settings, "output_dir", None) == "":
        settings.output_dir = str(settings.default_output_dir())
    return settings


def as_layer(kind: type, layer: Layer, where: str = "configuration") -> dict[str, Any]:
    """Convert a layer to plain types: check its keys, and expand ``~`` in paths.

    An object of a settings class is reduced to the values that differ from the defaults, so that
    an evaluation can take the others from the weights.

    Args:
        kind: the settings class that the layer belongs to.
        where: the source of the layer, for errors.

    Raises:
        InputError: a key of other commands, a renamed key, or a number in place of text.
    """
    if is_dataclass(layer):
        layer = _difference(asdict(layer), asdict(type(layer)()))
    _check_values(layer, where)
    return _checked(kind, kind, layer, "", where)


def merge_layers(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; a later one wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge_layers(merged[key], value) if both else value
    return merged


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        InputError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        content: Any = OmegaConf.to_container(
            OmegaConf.load(StringIO(read_text(os.path.expanduser(path)))), resolve=True
        )
    except (OSError, *_UNREADABLE) as error:
        raise InputError(f"configuration file {path}: {_reason(error)}") from error
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
        if key.count(".") >= _LEVELS:
            raise InputError(f"{key[:60]}...: settings have at most {_LEVELS} levels")
        value = _parse(_hint(kind, key), override, text)
        for name in reversed(key.split(".")):
            value = {name: value}
        layer = merge_layers(layer, value)
    return layer


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


def to_layer(settings: Any) -> dict[str, Any]:
    """Convert settings to plain types, for checkpoints."""
    return asdict(settings)


def to_yaml(settings: Any) -> str:
    """Format settings as YAML for :func:`read_config`; bytes that are not UTF-8 are escaped."""
    return OmegaConf.to_yaml(OmegaConf.create(_escaped(_printable(asdict(settings)))))


def upgraded(stored: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Convert stored settings, perhaps of an earlier version, to those of ``kind``.

    Renamed keys get their new names, missing settings their defaults, and settings of other
    commands are dropped.
    """
    settings = deepcopy(dict(stored))
    for old, new in RENAMED.items():
        *groups, key = old.split(".")
        section = settings
        for group in groups:
            section = section.get(group, {})
        if key in section:
            section[new.rpartition(".")[2]] = section.pop(key)
    return _completed(kind, settings)


def has_setting(kind: type, name: str) -> bool:
    """Check if a settings class has a setting or group, such as ``data.root``."""
    return _hint(kind, name) is not None


def _hint(kind: type, name: str) -> Any:
    """Type of a setting; Any in a group without fixed keys; None if there is no such setting."""
    hint: Any = kind
    for part in name.split("."):
        if get_origin(hint) is dict or hint is Any:
            return Any
        hint = get_type_hints(hint).get(part) if is_dataclass(hint) else None
    return hint


def _is_text(hint: Any) -> bool:
    return hint is str or get_origin(hint) is Literal


def _is_switch_or_text(hint: Any) -> bool:
    return hint == bool | str


def _parse(hint: Any, override: str, text: str) -> Any:
    if _is_text(hint):
        return text
    if _is_switch_or_text(hint):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
    except _UNREADABLE as error:
        raise InputError(f"{reprlib.repr(override)}: {_reason(error)}") from error
    return parsed["value"]


def _reason(error: Exception) -> str:
    """The first line of an error's text."""
    if isinstance(error, RecursionError):
        return "too many levels of nested values"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def _check_values(layer: Any, where: str) -> None:
    """Check depth and integers of nested values, without recursion."""
    level = [("", layer)]
    for _ in range(_LEVELS):
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


def _checked(
    kind: type, group: type, layer: Mapping[str, Any], prefix: str, where: str
) -> dict[str, Any]:
    hints = get_type_hints(group)
    metadata = {item.name: item.metadata for item in fields(group)}
    checked = {}
    for key, value in layer.items():
        name, hint = f"{prefix}{key}", hints.get(key)
        if hint is None:
            if isinstance(value, Mapping) and not value and not prefix:
                continue  # an empty group
            _refuse_known(kind, next(_leaves(name, value)), where)
            checked[key] = value  # unknown to all commands: merging raises, and names the key
        elif isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
            checked[key] = _checked(kind, hint, value, f"{name}.", where)
        else:
            checked[key] = _leaf(name, hint, value, metadata[key].get("path", False), where)
    return checked


def _leaf(name: str, hint: Any, value: Any, is_path: bool, where: str) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if name == "data.name":
        value = _joined(value)
    if isinstance(value, bool) and _is_switch_or_text(hint):
        return value
    text = _is_text(hint) or _is_switch_or_text(hint)
    if text and isinstance(value, bool | int | float):
        raise InputError(f"{where}: {name} must be text, not {value!r}: put it in quotes")
    if get_origin(hint) is list and isinstance(value, Mapping):
        raise InputError(f"{where}: {name} must be a list, not {dict(value)}")
    if is_path and isinstance(value, str):
        return checked_path(value, f"{where}: {name}")
    if is_path and isinstance(value, Mapping):
        return {
            key: os.path.expanduser(option) if str(option).startswith("~/") else option
            for key, option in value.items()
        }
    return value


def _joined(names: Any) -> Any:
    """Several data sets as one name: ``[market1501,msmt17]`` -> ``market1501+msmt17``."""
    if isinstance(names, str) and names.startswith("[") and names.endswith("]"):
        names = [name.strip(" \"'") for name in names[1:-1].split(",")]
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return "+".join(names)
    return names


def _leaves(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name


def _refuse_known(kind: type, name: str, where: str) -> None:
    """Raise if the setting was renamed or belongs to another command."""
    new = name
    for old, replacement in RENAMED.items():
        if new == old or new.startswith(f"{old}."):
            new = replacement + new[len(old) :]
    if new != name:
        raise InputError(f"{where}: {name} is now {new}: use the new name")
    commands = [command for command, other in SETTINGS.items() if has_setting(other, name)]
    if commands:
        this = next((key for key, other in SETTINGS.items() if other is kind), "this command")
        raise InputError(
            f"{where}: {this} would ignore {name}, which is a setting of {' and '.join(commands)}: "
            "leave it out"
        )


def _difference(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    changed = {}
    for key, value in settings.items():
        if key in defaults and value == defaults[key]:
            continue
        both = isinstance(value, dict) and isinstance(defaults.get(key), dict)
        changed[key] = _difference(value, defaults[key]) if both else value
    return changed


def _completed(group: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored settings that the group has, and its defaults for the others."""
    defaults, hints = asdict(group()), get_type_hints(group)
    for key in defaults:
        if key in stored:
            below = is_dataclass(hints[key])
            defaults[key] = _completed(hints[key], stored[key]) if below else stored[key]
    return defaults


def _printable(value: Any) -> Any:
    """Escape the bytes of paths that are not UTF-8, which YAML cannot hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _printable(below) for key, below in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value


def _escaped(value: Any) -> Any:
    """Escape ``${``, which OmegaConf would interpolate, and the backslashes before it."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: _escaped(below) for key, below in value.items()}
    return [_escaped(below) for below in value] if isinstance(value, list | tuple) else value


_BOUNDS = {
    "at_least": ("at least", operator.ge),
    "at_most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}
_LARGEST = 2**31 - 1
"""Of a number without an upper bound of its own."""


def _check_ranges(group: Any, prefix: str = "") -> None:
    for item in fields(group):
        name, value = f"{prefix}{item.name}", getattr(group, item.name)
        named = {name: value}
        if isinstance(value, list):
            named = {f"{name}[{index}]": each for index, each in enumerate(value)}
        for name, each in named.items():
            if is_dataclass(each):
                _check_ranges(each, f"{name}.")
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
