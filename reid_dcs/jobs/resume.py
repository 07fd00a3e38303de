"""Resume a run: read the checkpoint, check that it belongs to the run, restore its state."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_dcs.attention.options import options_of_file
from reid_dcs.config import to_layer
from reid_dcs.engine import (
    Trainer,
    check_parts,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.engine.checkpoint import BEST
from reid_dcs.errors import InputError
from reid_dcs.files import link_whole
from reid_dcs.jobs.networks import written_options
from reid_dcs.runtime import distributed


def checkpoint_to_resume(config: Any, folder: Path) -> dict[str, Any] | None:
    """Read the checkpoint of ``config.resume``; None if the run starts from scratch.

    Raises:
        InputError: the checkpoint is damaged or belongs to another run.
    """
    if config.resume == "none":
        return None
    if config.resume == "auto":
        source = folder
        content = read_last_checkpoint(source)
    else:
        source = Path(config.resume)
        content = read_checkpoint(source)
    if content:
        check_parts(content, source)
        with _readable(source):
            check_resumable(content, config, source)
    read = (content["epoch"], content["batch"]) if content else None
    if len(set(distributed.gathered(read))) > 1:
        raise InputError(
            f"resume={config.resume}: the processes have read different checkpoints: the output "
            "folder must be on a file system that all nodes share"
        )
    return content


def restore(trainer: Trainer, content: dict[str, Any], epochs: int, source: object) -> None:
    """Let a trainer continue from a checkpoint.

    Args:
        epochs: number of epochs of the whole run.

    Raises:
        InputError: a part of the checkpoint does not fit the network or its optimizers, or it was
            trained longer than the run.
    """
    begun = content["epoch"] + bool(content["batch"])
    if begun > epochs:
        raise InputError(
            f"{source}: the checkpoint is of epoch {begun}, and this run has only {epochs}: raise "
            "train.epochs, or start over in another folder with --output-dir"
        )
    with _readable(source):
        trainer.load_state_dict(content)


def restore_training(
    trainer: Trainer, content: dict[str, Any], recipe: Any, source: object
) -> None:
    """Let the trainer of a training continue; warn of a warm-up that stays as short as it was.

    Args:
        recipe: the group ``train`` of the settings.

    Raises:
        InputError: see :func:`restore`.
    """
    restore(trainer, content, recipe.epochs, source)
    epochs, warmup = content["config"]["train"]["epochs"], recipe.warmup_epochs
    if epochs < recipe.epochs and epochs < 2 * warmup and distributed.is_main():
        print(
            f"warning: {source} is of a run of {epochs} epochs, whose warm-up was cut to half of "
            f"them; train.warmup_epochs={warmup:g} does not change it any more",
            file=sys.stderr,
        )


@contextmanager
def _readable(source: object) -> Iterator[None]:
    """Turn whatever goes wrong with a part of a checkpoint into an InputError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # parts of other types and shapes raise many types of errors
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{source} cannot be resumed: a part of the checkpoint is missing or does not fit "
            f"({reason}); use another checkpoint, or start over in another folder with --output-dir"
        ) from error


def continues_in(config: Any, folder: Path, resumed: object) -> bool:
    """Whether a run continues from a checkpoint in its output folder, not from one elsewhere."""
    if not resumed or config.resume == "auto":
        return bool(resumed)
    return os.path.realpath(Path(config.resume).parent) == os.path.realpath(folder)


def bring_best(source: Path, content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Bring the best checkpoint of a run to the folder that it continues in.

    Args:
        source: the checkpoint that it continues from; the best one is this one or beside it.

    Returns:
        the best metrics so far; none if there is no such file, so that a later epoch is the best.
    """
    best = content["best"]
    for path in (source, source.with_name(BEST)):
        try:
            found = read_checkpoint(path)
        except InputError:  # there is none, or it is damaged
            continue
        if best and found["epoch"] == best["epoch"] and not found["batch"]:
            if distributed.is_main():
                link_whole(path, folder / BEST)
            return dict(best)
    return {}


def check_resumable(content: dict[str, Any], config: Any, source: Path) -> None:
    """Check that a checkpoint belongs to a run, and that the run would continue the same network.

    The options of the attention are compared with their defaults spelled out, so that a default
    that has changed since the checkpoint was written does not change the network.

    Raises:
        InputError: the checkpoint belongs to another run.
    """
    stored, now = content["config"], to_layer(config)
    if "model" in content:
        model = content["model"]
        options = options_of_file(model["name"], model["options"])
        stored = stored | {"model": stored["model"] | {"options": options}}
    written = written_options(config.model)
    if isinstance(stored["model"]["options"].get("architecture"), str):  # written before
        written["architecture"] = config.model.options.get("architecture")
    now = now | {"model": now["model"] | {"options": written}}
    check_same_run(
        content | {"config": stored}, now, distributed.world_size(), source, type(config)
    )
