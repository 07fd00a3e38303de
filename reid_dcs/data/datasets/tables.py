"""CSV tables of images: path, identity and camera, in the dialects that people's tools write.

The fields are words: identities ``1`` and ``01`` are two people, and so are their cameras.
Identity ``-1`` is junk, as in file names. ``100.0`` beside ``100`` is refused: a spreadsheet or
pandas made a number of one of them.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from reid_dcs.data.datasets.names import JUNK, Ignored
from reid_dcs.errors import InputError
from reid_dcs.files import read_text, regular

COLUMNS = {  # and their other names, in lower case
    "path": ("path", "image_path", "img_path", "file", "filename", "file_name", "image"),
    "identity": ("identity", "pid", "person_id", "person", "identity_id"),
    "camera": ("camera", "camid", "camera_id", "cam", "cam_id", "cameraid"),
    "time": ("time", "datetime", "timestamp", "date"),
}
REQUIRED = ("path", "identity")
OPTIONAL = ("camera",)
_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_JUNK = {"-1", "-1.0"}


class Row(NamedTuple):
    """One image of a split.

    Attributes:
        path: image file.
        identity: identity label.
        camera: camera label; empty if unknown.
        time: text of the time; empty if unknown.
    """

    path: Path
    identity: str
    camera: str
    time: str = ""


def read_table(
    table: Path,
    ignored: Ignored,
    required: Sequence[str] = REQUIRED,
    optional: Sequence[str] = OPTIONAL,
) -> Iterator[Row]:
    """Yield the rows of a table without junk; its header names the columns.

    Other columns are skipped. The delimiter is a comma, a semicolon, a tab or a bar. Paths are
    relative to the table and may have backslashes.

    Args:
        table: CSV file in UTF-8.
        ignored: lists to which junk images are appended.
        required: columns that the table must have; others may be missing.
        optional: the others that the caller uses.

    Raises:
        InputError: the table cannot be read, or lacks a column or a field.
    """
    try:
        text = _text(table)
        delimiter, columns = _header(table, text, required, optional)
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        width = len(next(reader))
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            values = {
                name: fields[i].strip() if i < len(fields) else "" for name, i in columns.items()
            }
            path, identity, camera, time = (values.get(name, "") for name in COLUMNS)
            if not all(values[name] for name in required) or len(fields) > width:
                raise InputError(
                    f"{table}, line {reader.line_num}: expected {','.join(required)}"
                    f"[,{','.join(optional)}]"
                    f"{'' if width <= 3 else f' in {width} fields'}, not {len(fields)} fields"
                )
            if identity in _JUNK:
                ignored[JUNK].append(str(_locate(table.parent, path)))
            else:
                yield Row(_locate(table.parent, path), identity, camera, time)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {table}: {error}") from error


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def alike_labels(labels: Iterable[str], what: str) -> list[str]:
    """Labels that differ as words and are the same number, such as 1 and 01, one entry a number.

    Raises:
        InputError: two of them differ by a fraction of zero, such as 100 and 100.0.
    """
    by_number: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        whole, point, fraction = label.partition(".")
        if whole.isascii() and whole.isdigit() and (not point or not fraction.strip("0")):
            by_number[whole.lstrip("0") or "0"].add(label)
    alike = []
    for same in (sorted(labels) for labels in by_number.values() if len(labels) > 1):
        if any("." in label for label in same):
            raise InputError(
                f"{what} labels {' and '.join(same)} are one number and different words: write it "
                "in one way in all tables"
            )
        alike.append(f"{what} labels {' and '.join(same)}")
    return sorted(alike)


def _text(table: Path) -> str:
    with regular(table).open("rb") as file:
        start = file.read(2)
    if encoding := _BYTE_ORDER_MARKS.get(start) or ("UTF-16" if 0 in start else None):
        raise InputError(f"{table} is in {encoding}: save it as UTF-8")
    return read_text(table, "utf-8-sig")


def _header(
    table: Path, text: str, required: Sequence[str], optional: Sequence[str]
) -> tuple[str, dict[str, int]]:
    """The delimiter, and the index of each column that the caller uses."""
    first = text.partition("\n")[0]
    names: list[str] = []
    for delimiter in _DELIMITERS:
        fields = next(csv.reader(StringIO(text, newline=""), delimiter=delimiter), [])
        fields = [name.strip().lower() for name in fields]
        columns = {
            name: [i for i, field in enumerate(fields) if field in aliases]
            for name, aliases in COLUMNS.items()
            if name in (*required, *optional)
        }
        if all(columns[name] for name in required):
            for name, indices in columns.items():
                if len(indices) > 1:
                    several = ", ".join(fields[i] for i in indices)
                    raise InputError(f"{table}: {several} all name the {name}: keep one column")
            return delimiter, {name: i[0] for name, i in columns.items() if i}
        names = max(names, fields, key=len)
    raise InputError(
        f"{table}: the first line must name the columns {', '.join(required)} and, if known, "
        f"{', '.join(optional)}, not {', '.join(names)[:200] or first[:200].strip() or 'nothing'}"
    )


def _locate(folder: Path, path: str) -> Path:
    """The path of an image; backslashes separate folders unless there is a file named like that."""
    located = folder / path
    if "\\" in path and not is_file(located):
        return folder / path.replace("\\", "/")
    return located
