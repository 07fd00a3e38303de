"""Weights by path or by name of the model zoo, with their model card."""

import os
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.weights import ModelCard, count_classes, read_card
from reid_dcs.zoo.cache import download, packaged_file
from reid_dcs.zoo.manifest import ZooEntry, read_detectors, read_manifest


def find_weights(source: str | Path) -> Path:
    """The file at the path ``source``, or the zoo's file of that name, downloaded if needed.

    Raises:
        InputError: there is no such file and no such name, or the download fails.
    """
    path = Path(os.path.expanduser(source))
    if path.is_file():
        return path
    name = str(source)
    try:
        entry = find_entry(name)
    except InputError as error:
        raise InputError(f"no weights at {path.resolve()}, and {error}") from error
    try:
        return download(name, entry)
    except InputError:
        packaged = packaged_file(entry)  # needs no cache, which may be read-only
        if packaged is None:
            raise
        return packaged


def find_entry(name: str) -> ZooEntry:
    """The zoo's entry of that name.

    Raises:
        InputError: there is none; the message lists similar names.
    """
    zoo = read_manifest()
    if name in zoo:
        return zoo[name]
    if name in read_detectors():
        raise InputError(f"{name} finds people for reid-dcs gallery index --detect, nothing else")
    longer = [other for other in zoo if other.startswith(name)]
    close = (longer or get_close_matches(name, zoo, n=3, cutoff=0.5))[:3]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"the model zoo has no {name!r}: {hint}python tools/model_zoo.py list shows what it has"
    )


def read_weights_and_card(
    source: str | Path,
) -> tuple[Path, dict[str, Any], ModelCard | None]:
    """The file of :func:`find_weights`, its content by ``read_weights``, and its card.

    The card is the file's; a file of the zoo without one has the card of its entry. It is None if
    neither says which model the weights belong to.

    Raises:
        InputError: as ``find_weights``, ``read_weights`` and ``read_card``.
    """
    from reid_dcs.weights import read_weights  # imports torch, which a list does without

    path = find_weights(source)
    content = read_weights(path)
    card = read_card(content, source)
    if card is None and path != Path(os.path.expanduser(source)):
        classes = count_classes(content["state_dict"])
        card = replace(find_entry(str(source)).card(), num_classes=classes)
    return path, content, card
