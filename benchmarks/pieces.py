"""Pack a folder into files of at most 16 MiB, and unpack it again.

For machines that hand back small files only. A packed folder holds ``contents.json``, the pieces of
each file in order, and the pieces, which are named by a checksum of what they hold. Pieces are
written first, ``contents.json`` is then replaced at once, and old pieces go last: a packed folder
is whole at every moment.
"""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from reid_dcs.files import write_json, written_whole

LIMIT = 16 * 2**20  # bytes
CONTENTS = "contents.json"


def pack(folder: Path, packed: Path, skip: Collection[str] = (), limit: int = LIMIT) -> None:
    """Write the files of a folder, in all of its subfolders, as pieces.

    Args:
        folder: the folder.
        packed: receives the pieces; those of an earlier call are replaced.
        skip: glob patterns of files to leave out; hidden files always are.
        limit: size of the largest piece in bytes.
    """
    packed.mkdir(parents=True, exist_ok=True)
    contents = {}
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".") or path.is_symlink()
        if path.is_file() and not hidden and not any(path.match(name) for name in skip):
            contents[str(path.relative_to(folder))] = list(_write(path, packed, limit))
    write_json(packed / CONTENTS, contents)
    kept = {CONTENTS, *(piece for pieces in contents.values() for piece in pieces)}
    for path in packed.iterdir():
        if path.name not in kept:
            path.unlink()


def unpack(packed: Path, folder: Path) -> None:
    """Write the files of a packed folder; nothing if it does not exist.

    Raises:
        ValueError: a piece is damaged.
    """
    if not (packed / CONTENTS).exists():
        return
    for name, pieces in json.loads((packed / CONTENTS).read_text()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            for piece in pieces:
                content = (packed / piece).read_bytes()
                if _name(content) != piece:
                    raise ValueError(f"{packed / piece} is damaged: delete {packed}")
                file.write(content)


def _write(path: Path, packed: Path, limit: int):
    """Write the pieces of a file that are not there yet; yield the names of all."""
    with path.open("rb") as file:
        while content := file.read(limit):
            piece = packed / _name(content)
            if not piece.exists():
                with written_whole(piece) as target:
                    target.write(content)
            yield piece.name


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
