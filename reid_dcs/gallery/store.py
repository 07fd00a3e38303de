"""A gallery's storage: a collection of Milvus, embedded in a file or on a server.

Everything that is specific to Milvus is here and in :mod:`reid_dcs.gallery.embedded`. A collection
has one row per picture; what describes the whole gallery is JSON in its properties.
"""

import json
import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from reid_dcs.errors import InputError
from reid_dcs.gallery.embedded import GRPC_OPTIONS, Embedded, damaged
from reid_dcs.gallery.pictures import FIELDS, TEXT_LENGTHS, Picture
from reid_dcs.runtime.imports import extra

T = TypeVar("T")

COLLECTION = "people"
EXACT = 50_000
"""Pictures up to which every vector is compared (Milvus's FLAT); HNSW is built for more."""
HNSW = {"M": 16, "efConstruction": 200}
EF = 128
"""Least number of candidates that a search in the HNSW graph keeps."""
MOST = 16_384
"""Rows of an answer that Milvus allows."""
_ABOUT = "reid_dcs.about"
_VECTOR, _INDEX = "vector", "vector"
_PAUSE = 0.1
_ATTEMPTS = 20
_RETRIES = 60.0  # seconds to wait for a server that restarts, or an index that is exchanged


class FileState(NamedTuple):
    """A file when it was indexed: bytes, modification time in ns, and whether as one picture."""

    size: int
    modified: int
    whole: bool


class Neighbor(NamedTuple):
    """A row near a question: the picture and its feature, (D,) float32."""

    picture: Picture
    vector: np.ndarray


class Store:
    """Rows of one gallery.

    Args:
        address: a path ending in ``.db``, or ``http://HOST:PORT[/COLLECTION]`` of a Milvus server,
            whose token, if it needs one, is ``MILVUS_TOKEN`` in the environment.
        create: create a gallery if there is none.

    Raises:
        InputError: no gallery there, a damaged one, or no server.
    """

    def __init__(self, address: str, create: bool = False) -> None:
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
            self._client = _server(address.partition("://")[0] + "://" + base)
        else:
            extra("milvus_lite", "gallery")
            self._embedded = Embedded(Path(address), create)
            self._client = self._embedded.client

    @property
    def folder(self) -> Path | None:
        """Folder of an embedded gallery; None on a server."""
        return self._embedded.path if self._embedded else None

    def close(self) -> None:
        self._closed = True
        self._embedded.close() if self._embedded else self._client.close()

    # --- the whole gallery ---------------------------------------------------------------------

    def about(self) -> dict[str, Any] | None:
        """What :meth:`create` and :meth:`describe` wrote; None if there is no gallery yet."""
        if not self._call("has_collection"):
            return None
        properties = self._call("describe_collection").get("properties", {})
        try:
            about = json.loads(properties[_ABOUT])
            if not isinstance(about, dict):
                raise ValueError
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{self.address}: the collection {self.collection} is not a gallery of reid-dcs"
            ) from error
        return about

    def create(self, dimension: int, about: Mapping[str, Any]) -> None:
        """Create the collection, unless another process has just created it."""
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
        schema.add_field(_VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        for name in FIELDS:
            if name in TEXT_LENGTHS:
                schema.add_field(name, DataType.VARCHAR, max_length=TEXT_LENGTHS[name])
            else:
                schema.add_field(name, DataType.INT64)
        try:
            self._call(
                "create_collection",
                schema=schema,
                index_params=self._index("FLAT", {}),
                consistency_level="Strong",
                properties={_ABOUT: json.dumps(about)},
            )
        except InputError:
            if not self._call("has_collection"):
                raise

    def describe(self, about: Mapping[str, Any]) -> None:
        """Replace the description of the gallery."""
        self._call("alter_collection_properties", properties={_ABOUT: json.dumps(about)})

    def count(self) -> int:
        """Number of pictures."""
        return int(self._call("query", filter="", output_fields=["count(*)"])[0]["count(*)"])

    # --- rows ------------------------------------------------------------------------------------

    def files(self, folder: str) -> dict[str, dict[str, FileState]]:
        """The files below a folder, or that file: by path, the state of each picture by its key."""
        return self._retrying(lambda: self._files(folder))

    def _files(self, folder: str) -> dict[str, dict[str, FileState]]:
        ends = "/", chr(ord("/") + 1)  # everything below the folder sorts between them
        below, after = (json.dumps(folder.rstrip("/") + end, ensure_ascii=False) for end in ends)
        iterator = self._client.query_iterator(
            self.collection,
            filter=f"{equals('path', folder)} or (path > {below} and path < {after})",
            output_fields=["id", "path", "size", "modified", "box"],
            batch_size=MOST // 2,
        )
        found: dict[str, dict[str, FileState]] = defaultdict(dict)
        try:
            while rows := iterator.next():
                for row in rows:
                    state = FileState(row["size"], row["modified"], not row["box"])
                    found[row["path"]][row["id"]] = state
        finally:
            iterator.close()
        return found

    def some(self, number: int) -> list[Picture]:
        """Any pictures, at most ``number``."""
        rows = self._call("query", filter='id > ""', output_fields=list(FIELDS), limit=number)
        return [Picture.from_row(row) for row in rows]

    def values(self, field: str) -> list[str]:
        """The different texts of a field in :data:`MOST` pictures at most: the first 1000."""
        rows = self._call("query", filter='id > ""', output_fields=[field], limit=MOST)
        return sorted({row[field] for row in rows} - {""})[:1000]

    def get(self, ids: Sequence[str]) -> list[Neighbor]:
        """The pictures with these keys, and their features; missing ones are left out."""
        rows = self._call("get", ids=list(ids), output_fields=[*FIELDS, _VECTOR]) if ids else []
        return [_neighbor(row) for row in rows]

    def put(self, pictures: Sequence[Picture], vectors: np.ndarray) -> None:
        """Insert pictures, or replace those of the same key.

        Args:
            vectors: (N, D) float32, of length 1.
        """
        rows = [
            {**picture.row(), _VECTOR: vector}
            for picture, vector in zip(pictures, vectors, strict=True)
        ]
        self._call("upsert", data=rows)

    def remove(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), 1000):
            self._call("delete", ids=list(ids[start : start + 1000]))

    def settle(self) -> None:
        """Write what is in memory to its final place, where it is searched faster."""
        self._call("flush")

    # --- search ----------------------------------------------------------------------------------

    def nearest(self, vector: np.ndarray, limit: int, where: str = "") -> list[Neighbor]:
        """Pictures of the highest cosine similarity: exactly those, or by HNSW nearly all of them.

        Args:
            vector: (D,) float32.
            limit: at most :data:`MOST`.
            where: filter.
        """
        (hits,) = self._call(
            "search",
            data=[vector],
            limit=limit,
            filter=where,
            search_params={"metric_type": "COSINE", "params": {"ef": max(EF, 2 * limit)}},
            output_fields=[*FIELDS, _VECTOR],
        )
        return [_neighbor(hit["entity"]) for hit in hits]

    def choose_index(self) -> None:
        """Build the HNSW graph if the gallery has outgrown an exact search."""
        kind = self._call("describe_index", index_name=_INDEX)["index_type"]
        if kind == "HNSW" or self.count() <= EXACT:
            return
        from pymilvus.exceptions import MilvusException

        for remaining in reversed(range(_ATTEMPTS)):  # a search of another process loads it again
            try:
                self._client.release_collection(self.collection)
                self._client.drop_index(self.collection, _INDEX)
                break
            except MilvusException as error:
                if not remaining:
                    raise self._error(error) from error
        self._call("create_index", index_params=self._index("HNSW", HNSW))
        self._call("load_collection")

    def _index(self, kind: str, parameters: Mapping[str, Any]) -> Any:
        params = self._client.prepare_index_params()
        params.add_index(
            _VECTOR, kind, index_name=_INDEX, metric_type="COSINE", params=dict(parameters)
        )
        return params

    # --- calls -----------------------------------------------------------------------------------

    def _call(self, method: str, **arguments: Any) -> Any:
        arguments |= {"collection_name": self.collection, "retry_times": 1}
        return self._retrying(lambda: getattr(self._client, method)(**arguments))

    def _retrying(self, function: Callable[[], T]) -> T:
        """Call a function; wait for a server that restarts, or reopen what another process closed.

        Raises:
            InputError: another error of Milvus.
        """
        from pymilvus.exceptions import MilvusException

        deadline = time.monotonic() + _RETRIES
        while True:
            try:
                return function()
            except (MilvusException, ValueError) as error:  # a closed channel is a ValueError
                state = _passing_state(error)
                if self._closed or state is None or time.monotonic() > deadline:
                    raise self._error(error) from error
            if state == "released":  # as a gallery is that has just been opened
                with suppress(MilvusException):  # its index is just being exchanged
                    self._client.load_collection(self.collection, retry_times=1)
                    continue
            time.sleep(_PAUSE)
            if self._embedded and state == "gone":
                self._embedded.connect()
                self._client = self._embedded.client

    def _error(self, error: Exception) -> InputError:
        if self._embedded:
            return damaged(self.address, error)
        reason = " ".join(str(error).split())[:200]
        return InputError(f"the Milvus server at {self.address} answers: {reason}")


def equals(field: str, value: str) -> str:
    """Filter: a text field has this value."""
    return f"{field} == {json.dumps(value, ensure_ascii=False)}"


def _server(address: str) -> Any:
    from pymilvus import MilvusClient

    try:
        token = os.environ.get("MILVUS_TOKEN", "")
        return MilvusClient(address, token=token, timeout=10, grpc_options=GRPC_OPTIONS)
    except Exception as error:  # of pymilvus and of gRPC
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no Milvus server at {address} ({reason}): check the address") from error


def _neighbor(row: Mapping[str, Any]) -> Neighbor:
    return Neighbor(Picture.from_row(dict(row)), np.asarray(row[_VECTOR], dtype=np.float32))


_PASSING = {
    "released": ("'released'", "not loaded"),
    "loading": ("'loading'", "index not found"),  # by another thread, or with another index
    "gone": ("unavailable", "closed channel", "connect", "retry", "shutdown"),
}
"""States of a gallery that pass, and what Milvus's errors say in them."""


def _passing_state(error: Exception) -> str | None:
    """The state after which a call is worth another try; None for other errors."""
    text = str(error).lower()
    return next((state for state, words in _PASSING.items() if any(w in text for w in words)), None)
