"""A gallery's storage: a collection of Milvus, embedded in a file or on a server.

Everything that is specific to Milvus is here, in :mod:`reid_dcs.gallery.connection` and in
:mod:`reid_dcs.gallery.embedded`. A collection has one row per picture; what describes the whole
gallery is JSON in its properties.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reid_dcs.errors import InputError
from reid_dcs.gallery.connection import Connection
from reid_dcs.gallery.pictures import FIELDS, TEXT_LENGTHS, Labels, Picture

EXACT = 50_000
"""Pictures up to which every vector is compared (Milvus's FLAT); HNSW is built for more."""
HNSW = {"M": 16, "efConstruction": 200}
EF = 128
"""Least number of candidates that a search in the HNSW graph keeps."""
MOST = 16_384
"""Rows of an answer that Milvus allows."""
_ABOUT = "reid_dcs.about"
_VECTOR, _INDEX = "vector", "vector"
_ATTEMPTS = 20
_MOST_VALUES = 1000


class FileState(NamedTuple):
    """A picture of a file when it was indexed.

    Attributes:
        size, modified: bytes and modification time (ns) of the file.
        whole: the picture is the whole file.
        frame: number of the frame in a video; -1 for a picture.
        labels: of the picture.
    """

    size: int
    modified: int
    whole: bool
    frame: int
    labels: Labels


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
        self._connection = Connection(address, create)
        self._call = self._connection.call

    @property
    def folder(self) -> Path | None:
        """Folder of an embedded gallery; None on a server."""
        return self._connection.folder

    def close(self) -> None:
        self._connection.close()

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
                f"{self._connection.address}: the collection {self._connection.collection} is not "
                "a gallery of reid-dcs"
            ) from error
        return about

    def create(self, dimension: int, about: Mapping[str, Any]) -> None:
        """Create the collection, unless another process has just created it."""
        from pymilvus import DataType

        schema = self._connection.client.create_schema(auto_id=False, enable_dynamic_field=False)
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
        return self._connection.retrying(lambda: self._files(folder))

    def _files(self, folder: str) -> dict[str, dict[str, FileState]]:
        ends = "/", chr(ord("/") + 1)  # everything below the folder sorts between them
        below, after = (json.dumps(folder.rstrip("/") + end, ensure_ascii=False) for end in ends)
        iterator = self._connection.client.query_iterator(
            self._connection.collection,
            filter=f"{equals('path', folder)} or (path > {below} and path < {after})",
            output_fields=["id", "path", "size", "modified", "box", "frame", *Labels._fields],
            batch_size=MOST // 2,
        )
        found: dict[str, dict[str, FileState]] = defaultdict(dict)
        try:
            while rows := iterator.next():
                for row in rows:
                    labels = Labels(*(row[name] for name in Labels._fields))
                    found[row["path"]][row["id"]] = FileState(
                        row["size"], row["modified"], not row["box"], row["frame"], labels
                    )
        finally:
            iterator.close()
        return found

    def has(self, where: str) -> bool:
        """Whether any picture meets a filter."""
        return bool(self._call("query", filter=where, output_fields=["id"], limit=1))

    def some(self, number: int) -> list[Picture]:
        """Any pictures, at most ``number``."""
        rows = self._call("query", filter='id > ""', output_fields=list(FIELDS), limit=number)
        return [Picture.from_row(row) for row in rows]

    def values(self, field: str) -> list[str]:
        """The different texts of a field, sorted; some of them if they are more than 1000.

        Each query asks for texts that the ones before did not find: a few queries, where reading
        every row would take many.
        """
        found = {""}
        while len(found) <= _MOST_VALUES:
            known = json.dumps(sorted(found), ensure_ascii=False)
            where = f"not ({field} in {known})"
            rows = self._call("query", filter=where, output_fields=[field], limit=MOST)
            new = {row[field] for row in rows} - found
            if not new:
                break
            found |= new
        return sorted(found - {""})[:_MOST_VALUES]

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
        self.restore_index()
        if self._index_kind() == "HNSW" or self.count() <= EXACT:
            return
        from pymilvus.exceptions import MilvusException

        for remaining in reversed(range(_ATTEMPTS)):  # a search of another process loads it again
            try:
                self._connection.client.release_collection(self._connection.collection)
                self._connection.client.drop_index(self._connection.collection, _INDEX)
                break
            except MilvusException as error:
                if not remaining:
                    raise self._connection.error(error) from error
        self._create_index("HNSW", HNSW)

    def restore_index(self) -> None:
        """Compare every vector if there is no index: a process was ended while it replaced it.

        A server reads no rows without an index, so this comes before anything that does.
        """
        if self._index_kind() is None:
            self._create_index("FLAT", {})

    def _index_kind(self) -> str | None:
        """Milvus's name of the index; None if there is none."""
        found = self._call("describe_index", index_name=_INDEX)
        return found and str(found["index_type"])

    def _create_index(self, kind: str, parameters: Mapping[str, Any]) -> None:
        """Create the index, unless another process has just created one."""
        try:
            self._call("create_index", index_params=self._index(kind, parameters))
        except InputError:
            if self._index_kind() is None:
                raise
        self._call("load_collection")

    def _index(self, kind: str, parameters: Mapping[str, Any]) -> Any:
        params = self._connection.client.prepare_index_params()
        params.add_index(
            _VECTOR, kind, index_name=_INDEX, metric_type="COSINE", params=dict(parameters)
        )
        return params


def equals(field: str, value: str) -> str:
    """Filter: a text field has this value."""
    return f"{field} == {json.dumps(value, ensure_ascii=False)}"


def _neighbor(row: Mapping[str, Any]) -> Neighbor:
    return Neighbor(Picture.from_row(dict(row)), np.asarray(row[_VECTOR], dtype=np.float32))
