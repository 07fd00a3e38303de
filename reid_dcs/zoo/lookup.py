"""A file of weights, or a name of the zoo: wherever a command takes the one it takes the other."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.zoo.cache import obtain
from reid_dcs.zoo.manifest import Entry, read_manifest


def weights_file(source: str | Path) -> Path:
    """The file that is meant: the one at that path, or else the zoo's of that name.

    Raises:
        InputError: neither is there, or the zoo's cannot be had.
    """
    if Path(source).is_file():
        return Path(source)
    name = str(source)
    try:
        entry = find_entry(name)
    except InputError as error:
        raise InputError(f"no weights at {Path(source).resolve()}, and {error}") from error
    return obtain(name, entry)


def find_entry(name: str) -> Entry:
    """The zoo's entry of that name.

    Raises:
        InputError: there is none; close names are listed.
    """
    zoo = read_manifest()
    if name in zoo:
        return zoo[name]
    longer = [other for other in zoo if other.startswith(name)]
    close = (longer or get_close_matches(name, zoo, n=3, cutoff=0.5))[:3]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"the model zoo has no {name!r}: {hint}python tools/model_zoo.py list shows what it has"
    )


def read_named(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file that is meant, and what :func:`reid_dcs.weights.read_weights` reads from it.

    Where a file of the zoo does not say which model it is, its entry does.

    Raises:
        InputError: as :func:`weights_file` and ``read_weights``.
    """
    from reid_dcs.weights import read_weights  # imports torch, which a list does without

    path = weights_file(source)
    content = read_weights(path)
    if "model" not in content and path != Path(source):
        content |= find_entry(str(source)).description()
    return path, content
