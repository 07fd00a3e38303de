"""Damaged and malicious files: changed bytes, and pickles written an opcode at a time."""

import io
import os
import pickle
import random
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, repeat, insert or overwrite a part."""
    content = bytearray(whole)
    place = rng.randrange(len(content))
    length = rng.choice((1, 2, 8, 100))
    match rng.randrange(6):
        case 0 | 1:
            for _ in range(rng.choice((1, 1, 1, 8))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case 2:
            del content[place:]
        case 3:
            del content[place : place + length]
        case 4:
            content[place:place] = rng.choice((rng.randbytes(length), content[:length]))
        case 5:
            filler = rng.choice((b"\xff", b"\x00", b"\x7f")) * length
            content[place : place + length] = filler
    return bytes(content)


def archive(pickled: bytes, records: dict[str, bytes] | None = None) -> bytes:
    """A file of ``torch.save`` with this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
        for name, content in (records or {"0": struct.pack("<2f", 1, 2)}).items():
            file.writestr(f"archive/data/{name}", content)
    return buffer.getvalue()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def name(module: str, function: str) -> bytes:
    return f"c{module}\n{function}\n".encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def tensor(length: int = 2, offset: int = 0, size: int = 2, stride: int = 1) -> bytes:
    reference = tuple_of(
        text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(length)
    )
    return call(
        name("torch._utils", "_rebuild_tensor_v2"), reference + b"Q", number(offset),
        tuple_of(number(size)), tuple_of(number(stride)), b"\x89",
        call(name("collections", "OrderedDict")),
    )  # fmt: skip


GOOD = mapping(weight=tensor())
"""A state dict of one tensor, as opcodes."""


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def unix_socket(path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    return path


def device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


SPECIAL: dict[str, Callable[[Path], Path]] = {
    "fifo": fifo, "socket": unix_socket, "device": device,
}  # fmt: skip
"""Make a file that is not a regular one."""
