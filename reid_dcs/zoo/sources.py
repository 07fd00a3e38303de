"""Sources of weight files: this package, a web server, Google Drive.

Each writes into a ``.part`` file. An interrupted download from a web server is resumed if the
server identifies the version of its file (by ETag or date) and still has that version.
"""

import inspect
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from reid_dcs.files import read_text

if TYPE_CHECKING:
    from requests import Response

PACKAGE = Path(__file__).parent
ATTEMPTS = 4
LONGEST = 3600.0
"""Seconds that a download from one source may take."""
LARGEST = 4 * 2**30
"""Bytes of a file of unknown size."""
PAUSE = 1.0  # seconds between attempts
TIMEOUT = (10.0, 30.0)  # seconds to connect, and to wait for data
_CHUNK = 1 << 14  # bytes; an interrupted download loses less than that


class Unavailable(Exception):
    """A source does not have the file; its message is the reason, on one line."""


def fetch(source: str, part: Path, size: int | None = None) -> None:
    """Download a file from one source.

    Args:
        source: as in the manifest.
        part: file to write.
        size: expected, in bytes; another size is refused before the download. None: unknown.

    Raises:
        Unavailable: the source does not provide the file.
        OSError: ``part`` cannot be written.
    """
    scheme, _, rest = source.partition(":")
    if scheme in ("https", "http"):
        return _from_web(source, part, size)
    for left in (part, _version(part)):  # left by another source
        left.unlink(missing_ok=True)
    if scheme == "package":
        _copy(PACKAGE / rest, part)
    else:
        _from_drive(rest, part, size)


def address(source: str) -> str:
    """The address to open in a browser."""
    scheme, _, rest = source.partition(":")
    if scheme == "drive":
        return f"https://drive.google.com/file/d/{rest}/view"
    return str(PACKAGE / rest) if scheme == "package" else source


def host(source: str) -> str:
    """A short name of the source, for messages."""
    scheme = source.partition(":")[0]
    return {"drive": "Google Drive", "package": "this package"}.get(scheme) or source.split("/")[2]


def _copy(origin: Path, part: Path) -> None:
    if not origin.is_file():
        raise Unavailable("the file is missing from this installation")
    shutil.copyfile(origin, part)


def _from_drive(identifier: str, part: Path, size: int | None) -> None:
    import gdown  # slow to import, and only needed here

    deadline = _Deadline()

    def check(received: int, _: int | None = None) -> None:
        deadline.check()
        _check_size(received, size)

    known = inspect.signature(gdown.download).parameters  # gdown before 6 has no such limits
    limits: dict[str, Any] = {"progress": check, "timeout": TIMEOUT}
    limits = {name: limit for name, limit in limits.items() if name in known}
    try:
        gdown.download(f"https://drive.google.com/uc?id={identifier}", str(part), **limits)
    except Unavailable:
        raise
    except Exception as error:  # no network, quota exceeded, a web page instead of the file
        raise Unavailable(_one_line(error)) from error
    if not part.is_file():
        raise Unavailable("Google Drive sent nothing")


def _from_web(url: str, part: Path, size: int | None) -> None:
    import requests  # late: listing the zoo downloads nothing
    from urllib3.exceptions import HTTPError

    deadline = _Deadline()
    for attempt in range(ATTEMPTS):
        try:
            return _stream(url, part, size, deadline)
        except (requests.RequestException, HTTPError) as error:
            reason = _one_line(error)
            if attempt + 1 < ATTEMPTS:
                time.sleep(PAUSE)
    raise Unavailable(f"{ATTEMPTS} attempts failed, the last one with: {reason}")


def _stream(url: str, part: Path, size: int | None, deadline: "_Deadline") -> None:
    """Download the rest of a file and append it, or the whole file."""
    import requests

    version = _version(part)
    start, headers = 0, {"Accept-Encoding": "identity"}
    if part.is_file() and (known := _saved_version(version, url)):
        start = part.stat().st_size
        headers |= {"Range": f"bytes={start}-", "If-Range": known}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and start:  # the part is complete, or longer than the file
            part.unlink()
            return _stream(url, part, size, deadline)
        _check_response(response)
        if response.status_code != 206:  # the server sends the whole file
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise Unavailable("the server resumes at another byte than requested")
        length = _content_length(response)
        total = size if length is None else start + length
        if size is not None and total != size:
            raise Unavailable(f"its file has {total or 0:,} bytes, not {size:,}")
        _check_size(total or 0, size)
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(
                desc=part.stem, initial=start, total=total, unit="B", unit_scale=True,
                leave=False, disable=None,
            ) as bar,
        ):  # fmt: skip
            _save_version(version, url, response)
            # read1 returns what has come: a server that sends a byte a minute meets the deadline
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                file.write(chunk)
                bar.update(len(chunk))
                if size is not None and file.tell() > size:
                    break  # longer than expected
                if size is None and file.tell() > LARGEST:
                    part.unlink()
                    _check_size(file.tell(), size)
                deadline.check()
    version.unlink(missing_ok=True)


class _Deadline:
    """The moment when a download is given up; what has come is kept, to be resumed."""

    def __init__(self) -> None:
        self.end = time.monotonic() + LONGEST

    def check(self) -> None:
        """Raises Unavailable: the moment is past."""
        if time.monotonic() > self.end:
            raise Unavailable(f"it takes longer than {LONGEST:.0f} seconds")


def _check_size(received: int, size: int | None) -> None:
    limit = LARGEST if size is None else size
    if received > limit:
        raise Unavailable(f"its file is larger than {limit:,} bytes")


def _content_length(response: "Response") -> int | None:
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        raise Unavailable(f"its Content-Length is {length[:40]!r}, not a number of bytes")
    return int(length)


def _version(part: Path) -> Path:
    """The file with the address and version that ``part`` belongs to."""
    return part.with_name(f"{part.name}.version")


def _check_response(response: "Response") -> None:
    if response.status_code not in (200, 206):
        raise Unavailable(f"status {response.status_code} {response.reason}".strip())
    if "text/html" in response.headers.get("Content-Type", ""):
        raise Unavailable("a web page came instead of the file")


def _save_version(version: Path, url: str, response: "Response") -> None:
    """Record the version of the file, for a request that resumes the download."""
    tag = response.headers.get("ETag", "")
    known = response.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
    if known and _can_be_sent(known):
        version.write_text(f"{url}\n{known}\n", encoding="utf-8")
    else:
        version.unlink(missing_ok=True)


def _saved_version(version: Path, url: str) -> str:
    """The version of the file of an address; empty if another or none was recorded."""
    try:
        recorded = read_text(version).splitlines()
    except (OSError, UnicodeDecodeError):  # none, or damaged
        return ""
    is_one = len(recorded) == 2 and recorded[0] == url and _can_be_sent(recorded[1])
    return recorded[1] if is_one else ""


def _can_be_sent(version: str) -> bool:
    """Whether a version can be in the header of a request."""
    return version.isascii() and version.isprintable() and version == version.strip() != ""


def _one_line(error: Exception) -> str:
    import requests
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return "no answer in time"
    if type(error) is requests.ConnectionError:  # also raised for a stalled body
        return "no answer in time" if "timed out" in str(error) else "no connection"
    return " ".join(str(error).split())[:150] or type(error).__name__
