"""A connection to Milvus, embedded in a file or on a server, that repeats calls.

Calls fail for a moment while a server restarts, while another process replaces the index, and when
the process that has opened a file ends. They are repeated until they succeed.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from reid_dcs.errors import InputError
from reid_dcs.gallery.embedded import GRPC_OPTIONS, Embedded, damaged
from reid_dcs.runtime.imports import extra

T = TypeVar("T")

COLLECTION = "people"
RETRY_SECONDS = 60.0  # for which a call is repeated
_PAUSE = 0.1


class Connection:
    """Calls of one collection of Milvus.

    Args:
        address, create: as of :class:`~reid_dcs.gallery.store.Store`.

    Attributes:
        collection: name of the collection.
        client: the ``pymilvus.MilvusClient``; another one after the gallery has been opened again.

    Raises:
        InputError: no gallery there, a damaged one, or no server.
    """

    def __init__(self, address: str, create: bool) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it prints what is an exception anyway
        extra("pymilvus", "gallery")
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self.address, self.collection = address, COLLECTION
        self._embedded: Embedded | None = None
        self._closed = False
        if re.match("https?://", address):
            base, _, name = address.partition("://")[2].partition("/")
            self.collection = name.strip("/") or COLLECTION
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,200}", self.collection):
                raise InputError(f"--gallery {address}: {name} is not the name of a collection")
            self.client = _server(address.partition("://")[0] + "://" + base)
        else:
            extra("milvus_lite", "gallery")
            self._embedded = Embedded(Path(address), create)
            self.client = self._embedded.client

    @property
    def folder(self) -> Path | None:
        """Folder of an embedded gallery; None on a server."""
        return self._embedded.path if self._embedded else None

    def close(self) -> None:
        self._closed = True
        self._embedded.close() if self._embedded else self.client.close()

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the client for the collection; see :meth:`retrying`."""
        arguments |= {"collection_name": self.collection, "retry_times": 1}
        return self.retrying(lambda: getattr(self.client, method)(**arguments))

    def retrying(self, function: Callable[[], T]) -> T:
        """Call a function; wait for a server that restarts, or reopen what another process closed.

        Raises:
            InputError: another error of Milvus.
        """
        from pymilvus.exceptions import MilvusException

        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return function()
            except (MilvusException, ValueError) as error:  # a closed channel is a ValueError
                state = _temporary_state(error)
                if self._closed or state is None or time.monotonic() > deadline:
                    raise self.error(error) from error
            if state == "released":  # the state of a gallery that has just been opened
                with suppress(MilvusException):  # another process is replacing its index
                    self.client.load_collection(self.collection, retry_times=1)
                    continue
            time.sleep(_PAUSE)
            if self._embedded and state == "gone":
                self._embedded.connect()
                self.client = self._embedded.client

    def error(self, error: Exception) -> InputError:
        """The error of one line for an error of Milvus."""
        if self._embedded:
            return damaged(self.address, error)
        reason = " ".join(str(error).split())[:200]
        return InputError(f"the Milvus server at {self.address} answers: {reason}")


_TEMPORARY = {
    "released": ("'released'", "not loaded"),
    "loading": ("'loading'", "index not found"),  # by another thread, or with another index
    "gone": ("unavailable", "closed channel", "connect", "retry", "shutdown"),
}
"""Temporary states of a gallery, and what Milvus's errors say in them."""


def _temporary_state(error: Exception) -> str | None:
    """The temporary state that an error tells of; None for other errors."""
    text = str(error).lower()
    return next(
        (state for state, words in _TEMPORARY.items() if any(w in text for w in words)), None
    )


def _server(address: str) -> Any:
    from pymilvus import MilvusClient

    try:
        token = os.environ.get("MILVUS_TOKEN", "")
        return MilvusClient(address, token=token, timeout=10, grpc_options=GRPC_OPTIONS)
    except Exception as error:  # of pymilvus and of gRPC
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no Milvus server at {address} ({reason}): check the address") from error
