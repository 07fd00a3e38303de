"""Read the files of ``torch.save``: archives, and the format of the years before PyTorch 1.6."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from reid_dcs.files import check_zip
from reid_dcs.weights.pickle_objects import Foreign, Storage, TensorView
from reid_dcs.weights.pickles import read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file in the old format
_MOST_VALUES = 10**6  # in a file; lists that hold each other may be endless
_MOST_AXES = 16

ReadStorage = Callable[[Storage], memoryview]
"""The bytes of a storage, of exactly its length."""


def read_torch_file(path: Path) -> Any:
    """Read a file of ``torch.save`` into plain values and tensors on the CPU.

    Raises:
        Exception: of many kinds; the file is damaged, no such file, too large when unpacked, or
            holds code.
    """
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            check_zip(file)
            with zipfile.ZipFile(file) as archive:
                return _from_archive(archive)
        file.seek(0)
        if file.read(1) != b"\x80":  # of a pickle; do not read a large file of another kind
            raise ValueError("no file of torch.save")
        file.seek(0)
        return _from_old_format(io.BytesIO(file.read()))


def member(archive: zipfile.ZipFile, name: str) -> str:
    """The full name of a member; all are in one folder, of any name.

    Raises:
        ValueError: there is none, or several.
    """
    found = [each for each in archive.namelist() if each.partition("/")[2] == name]
    if len(found) != 1:
        raise ValueError(f"the archive has {len(found)} members {name}")
    return found[0]


def _from_archive(archive: zipfile.ZipFile) -> Any:
    content = read_pickle(io.BytesIO(archive.read(member(archive, "data.pkl"))))
    names = {name.partition("/")[2] for name in archive.namelist()}
    if "byteorder" in names and archive.read(member(archive, "byteorder")) != b"little":
        raise ValueError("the numbers are big-endian")

    records: dict[str, bytearray] = {}

    def read(storage: Storage) -> memoryview:
        key = storage.key
        if key not in records:  # reading verifies the checksum of the member
            records[key] = bytearray(archive.read(member(archive, f"data/{key}")))
        return _cut(records[key], storage)

    return _Tensors(read).plain(content)


def _from_old_format(file: IO[bytes]) -> Any:
    """Five pickles, and then each storage: its length in eight bytes, and its numbers."""
    magic, _, system = (read_pickle(file) for _ in range(3))
    if magic != _MAGIC or not system.get("little_endian", True):
        raise ValueError("no file of torch.save")
    storages: dict[str, Storage] = {}
    content, keys = read_pickle(file, storages), read_pickle(file)
    found: dict[str, bytearray] = {}
    for key in keys:
        length = int.from_bytes(file.read(8), "little")
        size = length * storages[key].dtype.itemsize
        data = file.read(size) if length < 2**48 else b""
        if len(data) != size:
            raise ValueError("the file is cut")
        found[key] = bytearray(data)
    return _Tensors(lambda storage: _cut(found[storage.key], storage)).plain(content)


def _cut(data: bytearray, storage: Storage) -> memoryview:
    start, length = (n * storage.dtype.itemsize for n in (storage.start, storage.length))
    if start + length > len(data):
        raise ValueError(f"the storage {storage.key} is longer than its data")
    return memoryview(data)[start : start + length]


class _Tensors:
    """Copies what a pickle holds, with tensors in place of their descriptions.

    Objects that are not made stay :class:`Foreign`.
    """

    def __init__(self, read: ReadStorage) -> None:
        self.read = read
        self.flat: dict[Storage, Tensor] = {}
        self.values = 0

    def plain(self, value: Any) -> Any:
        self.values += 1
        if self.values > _MOST_VALUES:
            raise ValueError("too many values")
        if isinstance(value, TensorView):
            return self.tensor(value)
        if isinstance(value, dict):
            return {key: self.plain(each) for key, each in value.items()}
        if isinstance(value, list | set):
            return type(value)(self.plain(each) for each in value)
        if type(value) is tuple:
            return tuple(self.plain(each) for each in value)
        if value is None or isinstance(value, str | bytes | bytearray | int | float):
            return value
        return value if isinstance(value, Foreign) else Foreign(getattr(value, "name", "storage"))

    def tensor(self, view: TensorView) -> Tensor:
        """The tensor of a description, within the bounds of its storage."""
        storage = view.storage
        if storage not in self.flat:
            data = self.read(storage)
            usable = len(data) // view.dtype.itemsize * view.dtype.itemsize
            numbers = torch.empty(0, dtype=view.dtype)
            if usable:
                numbers = torch.frombuffer(data[:usable], dtype=view.dtype)
            self.flat[storage] = numbers
        flat = self.flat[storage]
        if flat.dtype != view.dtype or len(view.size) > _MOST_AXES:
            raise ValueError("two tensors read a storage as different types, or one has many axes")
        count = 1
        for length in view.size:
            count *= length
        steps = ((length - 1) * step for length, step in zip(view.size, view.stride, strict=True))
        if count and (count > len(flat) or view.offset + sum(steps) >= len(flat)):
            raise ValueError("a tensor is larger than its storage")
        if not count:
            return torch.empty(view.size, dtype=view.dtype)
        return flat.as_strided(view.size, view.stride, view.offset)
