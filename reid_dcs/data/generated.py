"""Generated data sets, written whole or not at all; ``recipe.json`` says what made one."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, exclusive, folder_written_whole, read_text

RECIPE = "recipe.json"


@contextmanager
def generating(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; wait for another process that generates it.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        create_folder(folder.parent)
        waiting = f"waiting for another process that generates {folder}"
        with exclusive(folder.with_name(f".reid-dcs-{folder.name}.lock"), waiting):
            yield
    except OSError as error:
        raise InputError(f"cannot write to {folder.parent}: {error.strerror or error}") from error


@contextmanager
def generated(folder: Path, recipe: Mapping[str, Any]) -> Iterator[Path]:
    """Write a data set atomically: the block fills the temporary folder that this yields.

    Args:
        folder: target; an older generated data set there is replaced.
        recipe: ``version`` of the generator, and its settings.

    Raises:
        InputError: the folder cannot be written, or contains something else.
    """
    if folder.exists() and read_recipe(folder) is None:
        raise InputError(f"{folder} is not a generated data set: move it away or change --root")
    with folder_written_whole(folder, replace=True) as temporary:
        yield temporary
        (temporary / RECIPE).write_text(json.dumps(dict(recipe)))


def read_recipe(folder: Path) -> dict[str, Any] | None:
    """The recipe of the data set in a folder; None if there is no generated one."""
    try:
        recipe = json.loads(read_text(folder / RECIPE))
        return recipe if isinstance(recipe.get("version"), int) else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
