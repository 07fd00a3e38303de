"""Where a data set lies, and what to say when it does not."""

from collections.abc import Sequence
from pathlib import Path

from reid_dcs.errors import InputError


def locate(title: str, root: Path, names: Sequence[str], parts: Sequence[str], obtain: str) -> Path:
    """The folder of a set: ``root`` itself or ``root / name``, whichever holds most of ``parts``.

    Args:
        title: of the set.
        names: folders that hold it where it is unpacked under ``root``.
        parts: files, and folders (with a slash at the end), that all have to be there.
        obtain: where the set comes from, for the error.

    Raises:
        InputError: no place holds any part, or the best lacks some.
    """
    places = [root, *(root / name for name in names)]
    found = max(places, key=lambda place: sum((place / part).exists() for part in parts))
    missing = [part for part in parts if not (found / part).exists()]
    if len(missing) == len(parts):
        raise InputError(
            f"{title} is not under {root.resolve()}: looked for {', '.join(missing)} in "
            f"{', '.join(str(place.resolve()) for place in places)}; {obtain}; "
            f"pass the folder that holds {names[0]} as --root"
        )
    if missing:
        raise InputError(f"{title} in {found.resolve()} lacks {', '.join(missing)}; {obtain}")
    return found
