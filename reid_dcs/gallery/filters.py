"""Filters of a search: by camera and by time."""

from reid_dcs.errors import InputError
from reid_dcs.gallery.pictures import printable
from reid_dcs.gallery.store import Store, equals
from reid_dcs.gallery.times import UNKNOWN

_SHOWN = 20  # cameras in an error


def conditions(
    not_camera: str | int | None = None,
    camera: str | int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> str:
    """The filter of a search; empty if there are no conditions.

    A picture without a time meets neither ``since`` nor ``until``.
    """
    parts = []
    if not_camera is not None:
        parts.append(f"not ({equals('camera', str(not_camera))})")
    if camera is not None:
        parts.append(equals("camera", str(camera)))
    if since is not None:
        parts.append(f"time >= {int(since)}")
    if until is not None:
        parts.append(f"time < {int(until)} and time > {UNKNOWN}")
    return " and ".join(parts)


def check_cameras(store: Store, *cameras: str | int | None) -> None:
    """Check that a gallery has pictures of the cameras that a search names.

    Raises:
        InputError: it has none of one of them.
    """
    for camera in (str(each) for each in cameras if each is not None):
        if not store.has(equals("camera", camera)):
            known = store.values("camera")
            names = ", ".join(map(printable, known[:_SHOWN])) or "unknown"
            raise InputError(
                f"the gallery has no picture of camera {printable(camera)}: its cameras are {names}"
                f"{', ...' if len(known) > _SHOWN else ''}"
            )
