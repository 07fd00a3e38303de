"""How the people of a gallery were found: by which detector, and with which settings.

A file that is left alone must be what reading it again would give. So all boxes of a gallery are
found in one way, as all features are those of one network, and another way is refused.
"""

from collections.abc import Mapping
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.gallery.crops import whole
from reid_dcs.gallery.index import Reader
from reid_dcs.gallery.pictures import printable
from reid_dcs.gallery.store import FileState, Store

_KEY = "finding"  # in the description of the gallery
_ELSE = "or index into another gallery"


def settings_of(finder: object) -> dict[str, Any]:
    """Settings of a reader or detector: its ``settings``, or the name of the function or class."""
    name = getattr(finder, "__qualname__", type(finder).__qualname__)
    return getattr(finder, "settings", None) or {"detector": name}


def check_finding(
    address: str, store: Store, reader: Reader, known: Mapping[str, Mapping[str, FileState]]
) -> None:
    """Check that a reader finds people as those of the gallery were found, and remember how.

    Args:
        address: of the gallery, for the error.
        reader: of the files that are to be indexed.
        known: what the gallery has of these files; see :meth:`Store.files`.

    Raises:
        InputError: the people of the gallery were found with other settings; or the reader takes
            files whole, and the gallery has people who were found in them.
    """
    about = store.about() or {}
    before = about.get(_KEY)
    if reader is whole:
        for path, states in known.items():
            if not all(state.whole for state in states.values()):
                raise InputError(
                    f"{address} has people who were found in {printable(path)} {_text(before)}: "
                    f"pass --detect again, {_ELSE}"
                )
        return
    settings = settings_of(reader)
    if settings == before:
        return
    if store.has('box != ""'):
        raise InputError(
            f"{address} has people who were found {_text(before)}, not {_text(settings)}: "
            f"pass the same, {_ELSE}"
        )
    store.describe({**about, _KEY: settings})


def _text(settings: Mapping[str, Any] | None) -> str:
    if settings is None:  # a gallery of an earlier version
        return "with unknown settings"
    return "with " + ", ".join(f"{name} {value}" for name, value in settings.items())
