"""Checkpoints: self-describing, in plain types and tensors only.

``model`` (name, options, num_classes), ``preprocessing`` (height, width, mean, std) and ``config``
describe the run, and ``data`` its images (:mod:`reid_dcs.data.fingerprint`). ``state_dict`` is the
network that is evaluated; if that is a moving average,
``raw_state_dict`` is the network that training continues with. ``optimizer``, ``scheduler``,
``scaler``, ``epoch`` (finished epochs), ``batch`` (finished batches of the next one), ``sums`` (of
their losses), ``seconds`` and ``images`` (of these batches), ``rng`` (one state per process),
``history``, ``best``, ``evaluated`` (the epoch of the last evaluation), and ``averaged`` (updates
of a moving average) are the rest of the state; a finished run adds ``metrics``. A task may add
the state of its loss as ``criterion``. ``format`` is the version of all this.
``torch.load(path, weights_only=True)`` reads a checkpoint.

A folder keeps three: the last one, the one before it, and the best of those that were evaluated.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid_dcs.config import SearchRun, TrainRun, upgraded
from reid_dcs.errors import InputError
from reid_dcs.files import kept_as, link_whole, written_whole
from reid_dcs.weights import read_weights

CHECKPOINT, PREVIOUS, BEST = "checkpoint.pt", "previous.pt", "best.pt"
FORMAT = 2
_PARTS: dict[str, type] = {
    "optimizer": Mapping,
    "scheduler": Mapping,
    "scaler": Mapping,
    "rng": list,
    "epoch": int,
    "batch": int,
    "sums": Mapping,
    "history": list,
    "best": Mapping,
}
"""The parts of a checkpoint besides its weights and its description, and their types."""

# Settings that may differ when a run is resumed: where and how it runs, not what it computes.
_FREE = (
    "resume",
    "output_dir",
    "device",
    "data.root",
    "data.mapped",
    "eval",
    "train.compile",
    "train.capture",
    "data.workers",
)


def save_checkpoint(folder: Path, content: Mapping[str, Any], is_best: bool = False) -> None:
    """Write tensors and plain types as ``checkpoint.pt``; the one before becomes ``previous.pt``.

    Atomic: once there is a ``checkpoint.pt``, there is a complete one at every moment. It may be
    damaged since: ``previous.pt`` goes when there is another.

    Raises:
        InputError: the folder cannot be written to.
    """
    # serialize to memory first: the error of torch's file writer does not name a full disk
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    path = folder / CHECKPOINT
    try:
        with kept_as(folder / PREVIOUS, path):
            # best.pt comes first: a run that is killed in between evaluates, and writes it, again
            with written_whole(folder / BEST if is_best else path) as file:
                file.write(buffer.getbuffer())
            if is_best:
                link_whole(folder / BEST, path)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def read_last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint in a folder, or the one before if that is damaged; None if there is none.

    Raises:
        InputError: all of them are damaged.
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
    """Read a checkpoint that a run can be resumed from.

    Raises:
        InputError: the file is missing or damaged, or holds only weights.
    """
    content = read_weights(path)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{path} cannot be resumed: it holds only weights, or an incompatible version wrote it"
        )
    return content


def check_parts(content: Mapping[str, Any], source: object) -> None:
    """Check that a checkpoint has every part of a run's state, and numbers that can be.

    Raises:
        InputError: a part is missing, or something else than it should be.
    """
    wrong = [key for key, kind in _PARTS.items() if not isinstance(content.get(key), kind)]
    wrong = wrong or [key for key in ("epoch", "batch") if content[key] < 0]
    if wrong:
        raise InputError(f"{source} cannot be resumed: {', '.join(wrong)} is missing or damaged")


def check_same_run(
    content: Mapping[str, Any],
    config: Mapping[str, Any],
    processes: int,
    source: object,
    kind: type | None = None,
) -> None:
    """Check that a checkpoint belongs to the run that ``config`` describes.

    Args:
        kind: settings class of ``config``; by default that of ``train`` or ``search``.

    Raises:
        InputError: it belongs to another run; the message names the first difference.
    """
    kind = kind or (SearchRun if "search" in config else TrainRun)
    if "search" not in config and content["config"].get("search", {}).get("epochs"):
        raise InputError(
            f"{source} belongs to another run: a search, or the training after one; start over in "
            "another folder with --output-dir"
        )
    stored = upgraded(content["config"], kind)
    then = _flat(stored) | {"processes": len(content["rng"])}
    now = _flat(config) | {"processes": processes}
    free: tuple[str, ...] = _FREE
    if now["train.schedule"] == "step":  # the first epochs of a longer run are the same
        free += ("train.epochs",)
    for key in ("model.pretrained", "train.init"):  # a file may be elsewhere
        for settings in (then, now):
            if isinstance(settings.get(key), str):
                settings[key] = Path(settings[key]).name
    differing = [key for key in (*now, *then) if then.get(key) != now.get(key)]
    for key in differing:
        if not any(key == name or key.startswith(f"{name}.") for name in free):
            raise InputError(
                f"{source} belongs to another run: {key} is {then.get(key)!r} there, "
                f"{now.get(key)!r} here; use its settings, or start over in another folder with "
                "--output-dir"
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            flat[prefix + key] = value
    return flat
