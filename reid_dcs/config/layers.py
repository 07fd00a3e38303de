"""Layers of settings: nested mappings from files, the command line and Python, merged into one."""

import os
import reprlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

from omegaconf import OmegaConf

from reid_dcs.config.checks import check_ranges, check_values, checked_path
from reid_dcs.config.omega import UNREADABLE, escaped, first_line
from reid_dcs.config.settings import RENAMED, SETTINGS, PrepareData, TaskRun
from reid_dcs.config.types import has_setting, is_switch_or_text, is_text
from reid_dcs.errors import InputError

Settings = TypeVar("Settings")
"""One of the classes of :data:`reid_dcs.config.SETTINGS`."""

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
    plain = [escaped(as_layer(kind, layer)) for layer in layers]
    try:
        settings: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), *plain))
    except UNREADABLE as error:
        full_key = getattr(error, "full_key", None)
        key = f"{full_key}: " if full_key else ""
        raise InputError(f"configuration: {key}{first_line(error)}") from error
    check_ranges(settings)
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
    check_values(layer, where)
    return _checked(kind, kind, layer, "", where)


def merge_layers(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; a later one wins.

    Raises:
        InputError: an empty group, which is None in YAML, would replace settings.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if value is None and isinstance(merged.get(key), Mapping):
                raise InputError(f"configuration: {key} must hold settings, not None")
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge_layers(merged[key], value) if both else value
    return merged


def to_layer(settings: Any) -> dict[str, Any]:
    """Convert settings to plain types, for checkpoints."""
    return asdict(settings)


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
            if "." in str(key) and has_setting(kind, name):
                above, _, setting = name.rpartition(".")
                raise InputError(f"{where}: {name} must be {setting} in the group {above}")
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
    if isinstance(value, bool) and is_switch_or_text(hint):
        return value
    text = is_text(hint) or is_switch_or_text(hint)
    if text and isinstance(value, bool | int | float):
        raise InputError(f"{where}: {name} must be text, not {value!r}: put it in quotes")
    if text and isinstance(value, list | tuple | Mapping):
        raise InputError(f"{where}: {name} must be text, not {reprlib.repr(value)}")
    if get_origin(hint) is list and not isinstance(value, list | tuple | None):
        raise InputError(f"{where}: {name} must be a list, not {reprlib.repr(value)}")
    holds_settings = get_origin(hint) is dict or is_dataclass(hint)
    if holds_settings and not isinstance(value, Mapping):
        raise InputError(f"{where}: {name} must hold settings, not {reprlib.repr(value)}")
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
