"""Search for the folder of a data set."""

from collections.abc import Sequence
from pathlib import Path

from reid_dcs.errors import InputError


def locate(title: str, root: Path, names: Sequence[str], parts: Sequence[str], obtain: str) -> Path:
    """Find the folder of a data set: ``root`` or ``root / name``, whichever has most parts.

    Args:
        title: title of the data set, for errors.
        root: folder given by the user.
        names: possible names of the folder under ``root``.
        parts: required files and folders (with a trailing slash).
        obtain: advice on how to obtain the data set, for errors.

    Raises:
        InputError: no folder contains any part, or the best one lacks some.
    """
    places = [root, *(root / name for name in names)]
    found = max(places, key=lambda place: sum((place / part).exists() for part in parts))
    missing = [part for part in parts if not (found / part).exists()]
    if len(missing) == len(parts):
        raise InputError(
            f"{title} is not under {root.resolve()}: looked for {', '.join(missing)} in "
            f"{', '.join(str(place.resolve()) for place in places)}; {obtain}; "
            f"pass the folder that contains {names[0]} as --root"
        )
    if missing:
        raise InputError(f"{title} in {found.resolve()} lacks {', '.join(missing)}; {obtain}")
    return found
