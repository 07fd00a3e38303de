"""The state dict in a checkpoint of any project: where it is, and prefixes of its names."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

STATE_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "net_dict",
    "network",
    "model_state",
    "module",
    "weights",
    "params",
)
"""Where projects put the state dict, most telling first."""
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, a wrapper
_CARD = ("model", "config", "history")  # keys with a meaning in our files only
_LEVELS = 3  # the file itself, and one mapping in another


def is_state_dict(value: object) -> bool:
    """Check if all values are tensors under names, at least one."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def with_state_dict(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content with its state dict under ``state_dict``, as bare names; None without one.

    In files of other projects, entries that mean something else in ours are left out.
    """
    state = _find(content, _LEVELS)
    if state is None:
        return None
    model = content.get("model")
    ours = "format" in content or (isinstance(model, Mapping) and "name" in model)
    kept = {} if state is content else dict(content)
    if not ours:
        kept = {key: value for key, value in kept.items() if key not in _CARD}
    return {**kept, "state_dict": _bare_names(state)}


def _find(content: object, levels: int) -> Mapping[str, Tensor] | None:
    """The state dict nearest to the top; in a mapping, under the first of :data:`STATE_KEYS`."""
    if is_state_dict(content):
        return content  # type: ignore[return-value]
    if not isinstance(content, Mapping) or levels <= 1:
        return None
    known = [content[key] for key in STATE_KEYS if key in content]
    for value in known:
        if is_state_dict(value):
            return value
    for value in known:
        if (found := _find(value, levels - 1)) is not None:
            return found
    others = [_find(value, levels - 1) for key, value in content.items() if key not in STATE_KEYS]
    states = [found for found in others if found is not None]
    return states[0] if len(states) == 1 else None


def _bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, in any order; names stay if two would become one."""
    bare = {_bare(name): tensor for name, tensor in state.items()}
    return bare if len(bare) == len(state) else dict(state)


def _bare(name: str) -> str:
    name = name.replace("_orig_mod.", "")  # also inside, of a compiled part
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def names_of(content: Mapping[Any, Any], most: int = 6) -> str:
    """The first keys, for messages."""
    return ", ".join(_short(content, most)) or "none"


def _short(content: Mapping[Any, Any], most: int) -> Iterator[str]:
    for number, key in enumerate(content):
        if number == most:
            yield f"... ({len(content)} in all)"
            return
        text = " ".join(str(key).split()) if isinstance(key, str | int | float) else "?"
        yield text if len(text) <= 60 else f"{text[:57]}..."
