"""Files that are there whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from reid_dcs.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its name once it is written and synced.

    A crash leaves what was there before.

    Raises:
        InputError: it cannot be written: no permission, or no room.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON, whole."""
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
