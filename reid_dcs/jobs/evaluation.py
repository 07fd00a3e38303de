"""What the evaluations of all tasks share: their weights, their output folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_dcs.engine import CHECKPOINT
from reid_dcs.errors import InputError
from reid_dcs.jobs.output import SETTINGS_FILES, OutputFolder


def required_weights(given: Mapping[str, Any]) -> str:
    """``eval.weights`` of the user's settings.

    Raises:
        InputError: there are none.
    """
    source = given.get("eval", {}).get("weights")
    if not source:
        raise InputError("no weights given: pass --weights FILE")
    return source


@contextmanager
def evaluation_output(
    given: Mapping[str, Any], config: Any, needing: Sequence[str] = ("report",)
) -> Iterator[OutputFolder | None]:
    """The output folder of an evaluation, locked; None if the user has named none.

    Args:
        given: the user's settings.
        config: all settings.
        needing: settings of ``eval`` whose results are files.

    Raises:
        InputError: there is no folder for such a file, or another run writes to it.
    """
    if given.get("output_dir"):
        with OutputFolder(Path(config.output_dir)) as folder:
            yield folder
        return
    for setting in needing:
        if getattr(config.eval, setting):
            raise InputError(f"eval.{setting} needs an output folder: pass --output-dir DIR")
    yield None


def settings_files(output: Path) -> tuple[str, ...]:
    """Names of the files for an evaluation's settings; none beside those of a training."""
    return () if (output / CHECKPOINT).exists() else SETTINGS_FILES
