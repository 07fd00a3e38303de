"""Labels in file names, and the files of a folder that are images.

Numbers in names are numbers: ``0002_c1`` and ``2_c01`` are the same identity and camera. An
identity is a whole field of a name: ``3fa85f64.jpg`` has none.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reid_dcs.data.image_files import IMAGE_SUFFIXES

Ignored = defaultdict[str, list[str]]
"""Files of a data set that are not read, by reason."""

JUNK = "junk image(s) of identity -1"
OTHER_FORMAT = "image(s) of a format that is not read"
NO_IMAGE = "file(s) that are no images"
SYSTEM = "hidden or system file(s)"
FOLDER = "folder(s) in a folder of images"
UNEXPECTED = (OTHER_FORMAT, FOLDER, NO_IMAGE)
"""Reasons that may mean that images are missing."""
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_OTHER_SUFFIXES = frozenset(
    ".heic .heif .avif .jxl .jp2 .j2k .jpx .tga .psd .svg .eps .ico .dng .raw .cr2 .nef .arw "
    ".exr .hdr .mpo .pcx .sgi .dds .xbm .npy".split()
)
_CAMERA = r"(?:c|cam(?:era)?[-_]?)(?P<camera>\d{1,9})(?:[A-Za-z]\d+)*(?![A-Za-z0-9])"
_END = r"(?=_|$)"
_CONVENTIONS = [  # tried in order
    # MARS: 0001C1T0001F001; 00-1C1T0001F001 is junk
    re.compile(r"(?P<identity>\d{4}|00-1)C(?P<camera>\d)T\d{4}F\d{3}", re.ASCII),
    # CUHK03: camera pair 1, person 1 of it, view 2: 1_001_2_06
    re.compile(r"(?P<pair>[1-5])_(?P<person>\d{3})_(?P<camera>[12])_\d{2}$", re.ASCII),
    # MSMT17: the third field is the camera: 0000_045_12_0303morning_0006_2
    re.compile(
        r"(?P<identity>\d{4})_\d{3}_(?P<camera>\d{2})_\d{4}[a-z]+_\d+_\d+", re.IGNORECASE | re.ASCII
    ),
    # Market-1501, DukeMTMC and many others: 0002_c1s1_000451_03, 0001_C6_F0099_X30823, 001_1_c7_9
    re.compile(rf"(?P<identity>-1|\d{{1,18}})_(?:.*?_)?{_CAMERA}", re.IGNORECASE | re.ASCII),
    # without a camera: 0002, 0002_anything
    re.compile(rf"(?P<identity>-1|\d{{1,18}}){_END}(?P<camera>)", re.ASCII),
]
_CAMERA_FIELD = re.compile(rf"(?:^|.*?_){_CAMERA}", re.IGNORECASE | re.ASCII)


class NameLabels(NamedTuple):
    """Labels in the name of an image."""

    identity: int
    """Number of the person; -1 is junk."""
    camera: str
    """Number of the camera, without leading zeros; empty if the name has none."""


def read_name(name: str) -> NameLabels | None:
    """Read identity and camera from a file name; None if it gives no identity.

    The name is that of Market-1501 (``0002_c1...``, also with ``C1``, ``cam1`` or ``camera1`` in a
    later field), MARS, MSMT17 or CUHK03, or begins with the identity: ``0002_anything.jpg``. A
    person of CUHK03 is 1000 x camera pair + number.
    """
    stem = _stem(name)
    for convention in _CONVENTIONS:
        found = convention.match(stem)
        if found is None:
            continue
        parts = found.groupdict()
        camera = str(int(parts["camera"])) if parts["camera"] else ""
        if "pair" in parts:
            return NameLabels(1000 * int(parts["pair"]) + int(parts["person"]), camera)
        return NameLabels(-1 if "-" in parts["identity"] else int(parts["identity"]), camera)
    return None


def read_camera(name: str) -> str:
    """The camera in the name of a file or folder, such as ``c1``; empty if it gives none."""
    labels, found = read_name(name), _CAMERA_FIELD.match(_stem(name))
    if labels and labels.camera:
        return labels.camera
    return str(int(found["camera"])) if found else ""


def images_among(paths: Iterable[Path], ignored: Ignored) -> list[Path]:
    """The image files among ``paths``, sorted; others are added to ``ignored``."""
    images = []
    for path in sorted(paths):
        reason = why_ignored(path)
        if reason:
            ignored[reason].append(str(path))
        else:
            images.append(path)
    return images


def why_ignored(path: Path) -> str:
    """Reason why a file is not an image of a data set; empty if it is one."""
    name, suffix = path.name.lower(), path.suffix.lower()
    if name.startswith(".") or name in _SYSTEM_FILES or name in ("__macosx", "@eadir"):
        return SYSTEM
    if path.is_dir():
        return FOLDER
    if suffix in IMAGE_SUFFIXES:
        return ""
    return OTHER_FORMAT if suffix in _OTHER_SUFFIXES else NO_IMAGE


def is_system(path: Path) -> bool:
    """Whether a file or folder is hidden, or made by the system."""
    return why_ignored(path) == SYSTEM


def _stem(name: str) -> str:
    """Name without its suffixes: ``0002_c3s1_000001_01.jpg.jpg`` -> ``0002_c3s1_000001_01``."""
    path = Path(name)
    while path.suffix.lower() in IMAGE_SUFFIXES:
        path = path.with_suffix("")
    return path.name
