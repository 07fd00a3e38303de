"""Milvus Lite, the embedded engine, for several processes at once.

Milvus Lite keeps a gallery in a folder such as ``people.db``, which one process at a time can open.
That process also serves it to the others: it holds a lock on ``people.db/ENDPOINT`` and writes the
address of its engine into that file. Other processes connect to the address. When the process ends,
however it ends, the system releases the lock, and the next process to need the gallery opens it.
"""

import fcntl
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.files import create_folder

SUFFIX = ".db"
LARGEST = 200_000
"""Pictures up to which Milvus Lite answers well (``benchmarks/results/gallery.md``)."""
STARTUP = 30.0  # seconds that another process may take to open a gallery
_ENDPOINT = "ENDPOINT"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d{1,5}")
_PAUSE = 0.05


class Embedded:
    """A connection to a gallery in a folder, opened by this process or by another one.

    Args:
        path: folder of the gallery; its name ends in ``.db``.
        create: create it if it does not exist.

    Attributes:
        client: the ``pymilvus.MilvusClient``.

    Raises:
        InputError: no gallery there, or a damaged one.
    """

    def __init__(self, path: Path, create: bool) -> None:
        self.path = path = Path(os.path.abspath(path))
        self.client: Any = None
        self._descriptor: int | None = None
        if path.suffix != SUFFIX:
            raise InputError(f"--gallery {path}: a gallery's name must end in {SUFFIX}")
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is not a gallery, which is a folder: choose another name")
        if not create and not (path / _ENDPOINT).exists():
            raise InputError(f"no gallery at {path}: reid-dcs gallery index FOLDER creates it")
        create_folder(path)
        self.connect()

    def connect(self) -> None:
        """Open the gallery, or connect to the process that has opened it.

        Raises:
            InputError: the gallery is damaged, or the other process does not answer.
        """
        deadline = time.monotonic() + STARTUP
        while not (self._open() or self._join()):
            if time.monotonic() > deadline:
                raise InputError(
                    f"{self.path} is open in a process that does not answer: end that process"
                )
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Disconnect; if this process has opened the gallery, close it."""
        if self.client is not None:
            self.client.close()
            self.client = None
        if self._descriptor is not None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(str(self.path))
            _opened.pop(self._key, None)
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        """Open the gallery if no other process has; False if one has."""
        if self._key in _opened:  # by this process, which may have several connections
            return self._join()
        try:
            descriptor = os.open(self.path / _ENDPOINT, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
        except BlockingIOError:
            os.close(descriptor)
            return False
        try:
            address = _start(self.path)
            self.client = _connect(address)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, Exception):
                raise damaged(self.path, error) from error
            raise
        os.write(descriptor, address.encode())
        self._descriptor, _opened[self._key] = descriptor, address
        return True

    def _join(self) -> bool:
        """Connect to the process that has opened the gallery; False if it is not ready."""
        address = self._address()
        if not address:
            return False
        try:
            client = _connect(address)
            client.list_collections(timeout=5, retry_times=1)
        except Exception:  # it has just ended
            return False
        if self._address() != address:
            client.close()
            return False
        self.client = client
        return True

    def _address(self) -> str:
        try:
            text = (self.path / _ENDPOINT).read_text()
        except (OSError, UnicodeDecodeError):
            return ""
        return text if _ADDRESS.fullmatch(text) else ""

    @property
    def _key(self) -> str:
        return os.path.realpath(self.path)


GRPC_OPTIONS = {
    "grpc.keepalive_time_ms": 2**31 - 1,
    "grpc.keepalive_permit_without_calls": False,
}
"""No pings: Milvus Lite disconnects a client that pings as pymilvus does by default."""

_opened: dict[str, str] = {}
"""Address of each gallery that this process has opened."""


def damaged(path: object, error: Exception) -> InputError:
    """The error of a gallery that cannot be read."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"the gallery {path} is damaged or full ({reason}): restore a copy, or index into another"
    )


def _start(path: Path) -> str:
    """Start the engine in this process, and return its address."""
    from milvus_lite.server_manager import server_manager_instance

    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)  # its tracebacks
    address = server_manager_instance.start_and_get_uri(str(path))
    if address is None:
        raise OSError("Milvus Lite cannot open it")
    return address


def _connect(address: str) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(address, timeout=10, grpc_options=GRPC_OPTIONS)
