"""Folders as small files: what is unpacked is what was packed, and damage is noticed."""

import sys

import pytest
from helpers.paths import REPOSITORY


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import pieces

    yield pieces
    sys.modules.pop("pieces")


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_unpacked_as_it_was(pieces, tmp_path):
    run, packed = tmp_path / "run", tmp_path / "packed"
    (run / "row/search").mkdir(parents=True)
    (run / "row/checkpoint.pt").write_bytes(bytes(range(256)) * 10)
    (run / "row/search/best.pt").write_bytes(b"left out")
    (run / "row/.checkpoint.pt.x").write_bytes(b"half-written")
    (run / "table.md").write_text("a table")
    (run / "empty").write_bytes(b"")
    pieces.pack(run, packed, skip=["best.pt"], limit=1000)
    assert max(path.stat().st_size for path in packed.iterdir()) <= 1000
    pieces.unpack(packed, tmp_path / "again")
    kept = {"row/checkpoint.pt", "table.md", "empty"}
    assert files(tmp_path / "again") == {k: v for k, v in files(run).items() if k in kept}


def test_packing_again_replaces_what_changed_and_nothing_else(pieces, tmp_path):
    run, packed = tmp_path / "run", tmp_path / "packed"
    run.mkdir()
    (run / "same").write_bytes(b"same")
    (run / "changed").write_bytes(b"before")
    pieces.pack(run, packed)
    before = {path.name: path.stat().st_mtime_ns for path in packed.iterdir()}
    (run / "changed").write_bytes(b"after")
    pieces.pack(run, packed)
    after = {path.name: path.stat().st_mtime_ns for path in packed.iterdir()}
    assert len(after) == len(before) == 3
    assert len(set(before.items()) & set(after.items())) == 1  # the piece of "same"
    pieces.unpack(packed, tmp_path / "again")
    assert files(tmp_path / "again") == files(run)


def test_a_damaged_piece_is_refused(pieces, tmp_path):
    run, packed = tmp_path / "run", tmp_path / "packed"
    run.mkdir()
    (run / "file").write_bytes(b"content")
    pieces.pack(run, packed)
    (piece,) = (path for path in packed.iterdir() if path.name != pieces.CONTENTS)
    piece.write_bytes(b"another")
    with pytest.raises(ValueError, match="damaged"):
        pieces.unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again/file").exists()


def test_there_may_be_nothing_to_unpack(pieces, tmp_path):
    pieces.unpack(tmp_path / "packed", tmp_path / "run")
    assert not (tmp_path / "run").exists()
