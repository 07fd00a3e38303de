"""Atomic file writes."""

import pytest

from reid_dcs import InputError
from reid_dcs.files import check_writable, create_folder, written_whole


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
