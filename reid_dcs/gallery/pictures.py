"""Pictures of a gallery: what is stored of each beside its feature."""

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from reid_dcs.gallery.times import UNKNOWN


class Labels(NamedTuple):
    """What is known of a picture; see :class:`Picture`."""

    identity: str
    camera: str
    time: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a person: a file, or a box in a picture or in a frame of a video.

    Attributes:
        path: absolute path of the file.
        root: the indexed folder that contains it.
        size, modified: bytes and modification time (ns) of the file when it was indexed.
        identity, camera: labels; empty if unknown.
        time: milliseconds since 1970, or since the start of a video of unknown date;
            :data:`~reid_dcs.gallery.times.UNKNOWN` if unknown.
        frame: number of the frame in a video, from 0; -1 for a picture.
        box: ``left,top,width,height`` of the person in pixels; empty for the whole picture.
    """

    path: str
    root: str = ""
    size: int = 0
    modified: int = 0
    identity: str = ""
    camera: str = ""
    time: int = UNKNOWN
    frame: int = -1
    box: str = ""

    @property
    def id(self) -> str:
        """Primary key: the same place has the same key, so that indexing again replaces it."""
        place = f"{self.path}\0{self.frame}\0{self.box}".encode()
        return hashlib.blake2b(place, digest_size=16).hexdigest()

    @property
    def corners(self) -> tuple[int, int, int, int] | None:
        """The box as left, top, right, bottom; None for the whole picture."""
        if not self.box:
            return None
        left, top, width, height = map(int, self.box.split(","))
        return left, top, left + width, top + height

    def row(self) -> dict[str, Any]:
        return {"id": self.id, **asdict(self)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Picture":
        return cls(**{name: row[name] for name in FIELDS})


FIELDS = tuple(field.name for field in fields(Picture))
TEXT_LENGTHS = {"path": 4096, "root": 4096, "identity": 256, "camera": 256, "box": 64}
"""Bytes of the longest text of each field."""


@dataclass(frozen=True)
class Hit:
    """An answer to a question.

    Attributes:
        picture: the stored picture.
        similarity: cosine similarity of the features, from -1 to 1.
        distance: cosine distance, 1 - similarity.
        same: whether the distance is within the gallery's threshold; None without one.
    """

    picture: Picture
    similarity: float
    same: bool | None = None

    @property
    def distance(self) -> float:
        return 1 - self.similarity

    @property
    def path(self) -> str:
        return self.picture.path

    @property
    def identity(self) -> str:
        return self.picture.identity

    @property
    def camera(self) -> str:
        return self.picture.camera


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey, and without half characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
