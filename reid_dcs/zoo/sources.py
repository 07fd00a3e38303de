"""Where weights come from: this package, a web server, Google Drive.

Each writes into a ``.part`` file. What a web server broke off is gone on with, if the server names
the version of its file (an ETag or a date) and still has that version.
"""

import shutil
import time
from pathlib import Path

import requests
from tqdm import tqdm

PACKAGE = Path(__file__).parent
ATTEMPTS = 4
PAUSE = 1.0  # seconds between them
TIMEOUT = (10.0, 30.0)  # seconds to connect, and without a byte
_CHUNK = 1 << 14  # bytes; of a connection that breaks off, less than that is lost


class Unavailable(Exception):
    """A source does not have the file; its message is the reason, on one line."""


def fetch(source: str, part: Path, size: int | None = None) -> None:
    """Bring a file from one source.

    Args:
        source: as in the manifest.
        part: where to.
        size: in bytes, where it is known: another is refused before it is loaded.

    Raises:
        Unavailable: it is not to be had there.
        OSError: ``part`` cannot be written.
    """
    scheme, _, rest = source.partition(":")
    if scheme in ("https", "http"):
        return _from_web(source, part, size)
    for left in (part, _version(part)):  # by another source
        left.unlink(missing_ok=True)
    if scheme == "package":
        _copy(PACKAGE / rest, part)
    else:
        _from_drive(rest, part)


def address(source: str) -> str:
    """What a person would open."""
    scheme, _, rest = source.partition(":")
    if scheme == "drive":
        return f"https://drive.google.com/file/d/{rest}/view"
    return str(PACKAGE / rest) if scheme == "package" else source


def host(source: str) -> str:
    """Who is asked, in a word."""
    scheme = source.partition(":")[0]
    return {"drive": "Google Drive", "package": "this package"}.get(scheme) or source.split("/")[2]


def _copy(origin: Path, part: Path) -> None:
    if not origin.is_file():
        raise Unavailable("it is not in this installation")
    shutil.copyfile(origin, part)


def _from_drive(identifier: str, part: Path) -> None:
    import gdown  # slow to import, and only needed here

    try:
        gdown.download(f"https://drive.google.com/uc?id={identifier}", str(part))
    except Exception as error:  # no network, a quota, a page in place of the file
        raise Unavailable(_one_line(error)) from error
    if not part.is_file():
        raise Unavailable("Google Drive gave nothing")


def _from_web(url: str, part: Path, size: int | None) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _stream(url, part, size)
        except requests.RequestException as error:
            reason = _one_line(error)
            if attempt + 1 < ATTEMPTS:
                time.sleep(PAUSE)
    raise Unavailable(f"{ATTEMPTS} attempts failed, the last one with: {reason}")


def _stream(url: str, part: Path, size: int | None) -> None:
    """Ask for what is missing, and append it; or for everything."""
    version = _version(part)
    start, headers = 0, {"Accept-Encoding": "identity"}
    known = version.read_text().splitlines() if part.is_file() and version.is_file() else []
    if len(known) == 2 and known[0] == url:
        start = part.stat().st_size
        headers |= {"Range": f"bytes={start}-", "If-Range": known[1]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and start:  # nothing is missing, or it is another's
            part.unlink()
            return _stream(url, part, size)
        _refuse(response)
        if response.status_code != 206:  # the whole file, whatever was asked for
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise Unavailable("it goes on elsewhere than where it broke off")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else size
        if size is not None and total != size:
            raise Unavailable(f"its file has {total:,} bytes, not {size:,}")
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(
                desc=part.stem, initial=start, total=total, unit="B", unit_scale=True,
                leave=False, disable=None,
            ) as bar,
        ):  # fmt: skip
            _remember(version, url, response)
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if size is not None and file.tell() > size:
                    break  # it has no end, or it is another
    version.unlink(missing_ok=True)


def _version(part: Path) -> Path:
    """Says of which version of which file the part is."""
    return part.with_name(f"{part.name}.version")


def _refuse(response: requests.Response) -> None:
    if response.status_code not in (200, 206):
        raise Unavailable(f"status {response.status_code} {response.reason}".strip())
    if "text/html" in response.headers.get("Content-Type", ""):
        raise Unavailable("a web page came instead of the file")


def _remember(version: Path, url: str, response: requests.Response) -> None:
    """For a request that goes on with the part."""
    tag = response.headers.get("ETag", "")
    known = response.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
    if known:
        version.write_text(f"{url}\n{known}\n")
    else:
        version.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if type(error) is requests.ConnectionError:  # a stalled body is one too
        return "no answer in time" if "timed out" in str(error) else "no connection"
    return " ".join(str(error).split())[:150] or type(error).__name__
