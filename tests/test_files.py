"""Atomic writes of files and folders."""

import errno
import os
from contextlib import nullcontext

import pytest

from reid_dcs import InputError
from reid_dcs.files import check_writable, create_folder, folder_written_whole, written_whole


def test_a_crash_keeps_the_previous_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"previous")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"previous" and list(tmp_path.iterdir()) == [path]


def test_a_complete_file_replaces_the_previous_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"previous")
    with written_whole(path) as file:
        file.write(b"whole")
        assert path.read_bytes() == b"previous"
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_one_line_error(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(InputError, match="cannot write .*file: No space left"):
        with written_whole(path):
            raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_one_line_error(tmp_path):
    with pytest.raises(InputError, match="cannot write"), written_whole(tmp_path / "no/file"):
        pass


def test_a_file_that_could_not_be_written_is_told_before(tmp_path):
    check_writable(tmp_path / "new")
    for path, reason in {
        tmp_path: "Is a directory",
        tmp_path / "no/file": "No such file or directory",
    }.items():
        with pytest.raises(InputError, match=f"cannot write {path}: {reason}"):
            check_writable(path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_created_unless_a_file_has_its_name(tmp_path):
    for _ in range(2):
        create_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write to .*file: it is a file, not a folder"):
        create_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write to .*folder: Not a directory"):
        create_folder(tmp_path / "file" / "folder")


def test_everything_in_a_folder_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    synced, original = [], os.rename

    def rename(source, target):
        found = [source, *source.rglob("*")]
        assert {path.stat().st_ino for path in found} == set(synced) and len(found) == 24
        original(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "rename", rename)
    with folder_written_whole(tmp_path / "set") as temporary:
        for name in ("a", "a/b", "a/c"):
            (temporary / name).mkdir()
        for number in range(20):
            (temporary / "a/b" / str(number)).write_text("x")
    assert len(list((tmp_path / "set/a/b").iterdir())) == 20


@pytest.mark.parametrize("code, ends", [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_may_not_sync_folders_but_must_not_fail(tmp_path, monkeypatch, code, ends):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    expected = nullcontext() if ends else pytest.raises(InputError, match="cannot write .*/set: In")
    with expected, folder_written_whole(tmp_path / "set") as temporary:
        (temporary / "file").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["set"] * ends


def test_a_folder_takes_no_others_place(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine").touch()
    with pytest.raises(InputError, match="cannot write .*/set: Directory not empty"):
        with folder_written_whole(tmp_path / "set") as temporary:
            (temporary / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine"]


@pytest.mark.parametrize("mask, file, folder", [(0o077, 0o600, 0o700), (0o002, 0o664, 0o775)])
def test_the_umask_is_kept(tmp_path, mask, file, folder):
    before = os.umask(mask)
    try:
        with written_whole(tmp_path / "file"), folder_written_whole(tmp_path / "set"):
            pass
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "set")]
    assert modes == [file, folder]
