"""Whether a path leads into a folder, and the refusal of an output folder that does."""

import os
from collections.abc import Iterable
from pathlib import Path

from reid_dcs.errors import InputError


def is_in(path: str | Path, folder: str | Path) -> bool:
    """Whether a path leads into a folder, or is that folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_outside(
    output: str | Path, folders: Iterable[str | Path], what: str = "a folder of the data set"
) -> None:
    """Check that an output folder is neither one of some folders nor inside of one.

    Args:
        output: the output folder; it need not exist.
        folders: those that nothing is written to.
        what: what the folders are, for the error.

    Raises:
        InputError: it is.
    """
    for folder in folders:
        if is_in(output, folder):
            raise InputError(
                f"the output folder {output} is in {folder}, {what}: choose another one with "
                "--output-dir"
            )
