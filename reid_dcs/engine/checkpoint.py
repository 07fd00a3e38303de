"""Checkpoints that say what they are, in plain types and tensors only.

``model`` (name, options, num_classes), ``preprocessing`` (height, width, mean, std), ``config``;
``state_dict``, the network that evaluation runs, and with averaged weights ``raw_state_dict``, the
one that training goes on from; ``optimizer``, ``scheduler``, ``scaler``; ``epoch`` (finished ones),
``batch`` (of the next, so far) and its ``sums``; ``rng`` (one state a process), ``history``,
``best`` and, at the end of a run, ``metrics``. ``torch.load(path, weights_only=True)`` reads one.

A folder keeps three: the last, the one before it, and the best of those that were evaluated.
"""

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid_dcs.config import SearchRun, TrainRun, upgraded
from reid_dcs.errors import InputError
from reid_dcs.files import written_whole
from reid_dcs.weights import read_weights

CHECKPOINT, PREVIOUS, BEST = "checkpoint.pt", "previous.pt", "best.pt"
FORMAT = 2

# What may change between a run and its continuation: where and how it runs, not what it computes.
_FREE = ("resume", "output_dir", "device", "data.root", "data.mapped", "eval", "train.compile")


def save_checkpoint(folder: Path, content: Mapping[str, Any], is_best: bool = False) -> None:
    """Write tensors and plain types as ``checkpoint.pt``; the one before becomes ``previous.pt``.

    At every moment of it there is a whole ``checkpoint.pt``, if there was one.

    Raises:
        InputError: it cannot be written.
    """
    # to memory first: torch's own writer turns a full disk into an error that does not say so
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    path = folder / CHECKPOINT
    try:
        if path.exists():
            _link(path, folder / PREVIOUS)
        with written_whole(path) as file:
            file.write(buffer.getbuffer())
        if is_best:
            _link(path, folder / BEST)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def read_last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint of a run, or where that is damaged the one before; None without any.

    Raises:
        InputError: all that are there are damaged.
    """
    present = [path for name in (CHECKPOINT, PREVIOUS) if (path := folder / name).is_file()]
    for i, path in enumerate(present):
        try:
            return read_checkpoint(path)
        except InputError as error:
            if i + 1 == len(present):
                raise
            print(f"warning: {error}; falling back to {present[i + 1].name}", file=sys.stderr)
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint that a run can continue from.

    Raises:
        InputError: it is not there, is damaged or holds weights alone.
    """
    content = read_weights(path)
    if content.get("format") != FORMAT:
        raise InputError(f"{path} cannot be resumed: it holds weights alone, or is of another age")
    return content


def check_same_run(
    content: Mapping[str, Any], config: Mapping[str, Any], processes: int, source: object
) -> None:
    """Whether a checkpoint is one of the run that ``config`` describes.

    Raises:
        InputError: it is another's; the first difference is named.
    """
    stored = upgraded(content["config"], SearchRun if "search" in config else TrainRun)
    then = _flat(stored) | {"processes": len(content["rng"])}
    now = _flat(config) | {"processes": processes}
    free = _FREE
    if now["train.schedule"] == "step":  # a longer run begins as a shorter one
        free += ("train.epochs",)
    differing = [key for key in (*now, *then) if then.get(key) != now.get(key)]
    for key in differing:
        if not any(key == name or key.startswith(f"{name}.") for name in free):
            raise InputError(
                f"{source} is of another run: {key} is {then.get(key)!r} there, {now.get(key)!r} "
                "here; go on with its settings, or begin anew with resume=none"
            )


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, whole at every moment, whatever had that name before."""
    temporary = name.with_name(f".{name.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        with written_whole(name) as file:
            file.write(path.read_bytes())
        return
    os.replace(temporary, name)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            flat[prefix + key] = value
    return flat
