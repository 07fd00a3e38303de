"""Files to index, with labels from names or from a table."""

import os

import pytest

from reid_dcs.data.datasets.names import Ignored
from reid_dcs.errors import InputError
from reid_dcs.gallery.sources import from_paths, ignored_text, in_folder, in_table
from reid_dcs.gallery.times import UNKNOWN, parse_time


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_labels_come_from_names_of_files_and_folders(tmp_path):
    touch(
        tmp_path,
        "0002_c1s1_000451_03.jpg",
        "-1_c2s1_000001_00.jpg",
        "holidays/IMG 7.png",
        "cam4/2026-05-31_18-30-05.jpg",
        ".hidden/0003_c1.jpg",
        "notes.txt",
        "film.mp4",
    )
    ignored = Ignored(list)
    found = {os.path.relpath(p.path, tmp_path): p for p in in_folder(tmp_path, False, ignored)}
    assert {name: (p.identity, p.camera) for name, p in found.items()} == {
        "0002_c1s1_000451_03.jpg": ("2", "1"),
        "-1_c2s1_000001_00.jpg": ("", "2"),
        "holidays/IMG 7.png": ("", ""),
        "cam4/2026-05-31_18-30-05.jpg": ("", "4"),
    }
    times = {p.time for p in found.values()}
    assert times == {UNKNOWN, parse_time("2026-05-31T18:30:05", "")}
    assert all(p.size == 1 and p.modified > 0 and p.root == str(tmp_path) for p in found.values())
    assert "film.mp4" in {os.path.basename(p.path) for p in in_folder(tmp_path, True, ignored)}


def test_a_table_names_pictures_cameras_and_times(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    table = tmp_path / "people.csv"
    table.write_text("path;time;camera\na\\1.jpg;2026-05-31T18:30;hall\na/2.jpg;;\n")
    first, second = in_table(table, tmp_path, Ignored(list))
    assert (first.camera, first.identity) == ("hall", "")
    assert first.time == parse_time("2026-05-31T18:30", "") and second.time == UNKNOWN
    for line, said in [
        ("b.jpg,1,2", "no file at"),
        ("../x.jpg,1,2", "is not in"),
        ("a/1.jpg,1,soon", "no time"),
        (f"a/1.jpg,{'c' * 300},3", "longer"),
        ("a/1.jpg,1,3\na\\1.jpg,2,3", "a/1.jpg twice"),
    ]:
        table.write_text(f"path,camera,time\n{line}\n")
        with pytest.raises(InputError, match=said):
            list(in_table(table, tmp_path, Ignored(list)))


@pytest.mark.parametrize(
    "text, said",
    [
        ("foo,bar\na,b\n", "the columns path and, if known, identity, camera, time, not foo, bar"),
        ("path,camera\n,hall\n", "line 2: expected path[,identity,camera,time], not 2 fields"),
    ],
)
def test_only_the_path_is_required_of_a_table(tmp_path, text, said):
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(InputError) as error:
        list(in_table(tmp_path / "people.csv", tmp_path, Ignored(list)))
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no picture at .*nobody.jpg"):
        list(from_paths([tmp_path / "nobody.jpg"]))


@pytest.mark.parametrize(
    "name, identity",
    [
        ("0002_c1s1_2026-05-31_18-30-05.png", "2"),
        ("0002_20260531_183005.png", "2"),
        ("2026-05-31_18-30-05_c1.png", ""),
        ("20260531_183005.png", ""),
    ],
)
def test_a_date_is_no_identity_and_hides_none(tmp_path, name, identity):
    touch(tmp_path, name)
    (found,) = from_paths([tmp_path / name])
    assert (found.identity, found.time) == (identity, parse_time("2026-05-31T18:30:05", ""))


def test_files_of_a_folder_that_are_not_read_are_counted_and_named(tmp_path):
    touch(tmp_path, "f/a.jpg", "f/b.heic", "f/c.HEIC", "f/film.mp4", "f/.d.heic", "else/e.jpg")
    (tmp_path / "f/linked").symlink_to("../else")
    folder, ignored = tmp_path / "f", Ignored(list)
    assert [p.path for p in in_folder(folder, False, ignored)] == [str(folder / "a.jpg")]
    text = ignored_text(ignored)
    assert f"2 image(s) of a format that is not read, such as {folder}/b.heic" in text
    assert f"1 video(s), which --detect reads, such as {folder}/film.mp4" in text
    assert f"1 linked folder(s), such as {folder}/linked" in text
    ignored = Ignored(list)
    assert len(list(in_folder(folder, True, ignored))) == 2
    assert "video" not in ignored_text(ignored)
