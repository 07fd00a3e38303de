"""Uploaded pictures: bounded in bytes and pixels, decoded once, kept in memory."""

import io
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from reid_dcs.data.decode import read_rgb
from reid_dcs.data.image_files import open_image
from reid_dcs.errors import InputError

MOST_BYTES = 10 * 2**20
"""Bytes of an uploaded picture."""
MOST_FILES = 8
MOST_PIXELS = 25_000_000
KEPT = 256
"""Uploads that are kept; older ones are forgotten."""
THUMBNAIL = (256, 512)  # width and height at most


class Upload(NamedTuple):
    """Features (N, D) of uploaded pictures of one person, and the first as a JPEG."""

    features: np.ndarray
    thumbnail: bytes


class Uploads:
    """The latest uploads by key."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def add(self, upload: Upload) -> str:
        key = secrets.token_hex(16)
        with self._lock:
            self._kept[key] = upload
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> Upload:
        """The upload of a key.

        Raises:
            InputError: it was forgotten.
        """
        with self._lock:
            if key not in self._kept:
                raise InputError("this uploaded picture is no longer kept: upload it again")
            self._kept.move_to_end(key)
            return self._kept[key]


def decode(files: Sequence[IO[bytes]]) -> list[Image.Image]:
    """Decode uploaded files as pictures of the gallery are decoded, whatever their names.

    Raises:
        InputError: too many files, too large, too many pixels, or no picture.
    """
    if not 1 <= len(files) <= MOST_FILES:
        raise InputError(f"upload 1 to {MOST_FILES} pictures of one person")
    return [_decode(file) for file in files]


def _decode(file: IO[bytes]) -> Image.Image:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"a picture may have {MOST_BYTES // 2**20} MB at most")
    with tempfile.NamedTemporaryFile() as temporary:
        temporary.write(content)
        temporary.flush()
        try:
            with open_image(temporary.name) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise InputError(f"a picture may have {MOST_PIXELS:,} pixels at most")
            return read_rgb(temporary.name)
        except OSError as error:
            raise InputError(f"no picture that can be read ({error}): choose another") from error


def thumbnail(image: Image.Image) -> bytes:
    """A small JPEG of an image, without metadata."""
    image = image.copy()
    image.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
