"""tools/prepare_data.py: what a check finds in damaged copies of a generated set; the store."""

import shutil

import pytest
from PIL import Image

from reid_dcs.data.check import check_dataset


@pytest.fixture
def home(tiny_root, tmp_path):
    """A generated set that a test may damage, read as a folder of the user's."""
    return shutil.copytree(tiny_root / "synthetic", tmp_path / "data")


def images(home, split):
    return sorted((home / split).iterdir())


def check(home, name="folder"):
    return {finding.fault: finding.places for finding in check_dataset(name, str(home), {})}


def test_a_sound_set_has_no_findings(home):
    assert check(home) == {}


def test_unreadable_and_truncated_images(home):
    empty, noise, cut = images(home, "bounding_box_train")[:3]
    empty.write_bytes(b"")
    noise.write_bytes(b"this is no picture")
    with open(cut, "rb+") as file:
        file.truncate(file.seek(0, 2) // 2)
    assert check(home) == {
        "unreadable image(s)": [str(empty), str(noise)],
        "truncated image(s)": [str(cut)],
    }


def test_an_image_of_another_size(home):
    path = images(home, "query")[2]
    Image.open(path).resize((70, 128)).save(path)
    assert check(home) == {"odd-sized image(s)": [f"{path}: 128x70 instead of 128x64"]}


def test_where_sizes_vary_only_the_strange_are_odd(home):
    for i, path in enumerate(paths := sorted(home.rglob("*.jpg"))):
        Image.open(path).resize((50 + i % 40, 120 + i)).save(path)
    wide, tiny = paths[5], paths[9]
    Image.open(wide).resize((90, 80)).save(wide)
    Image.open(tiny).resize((9, 30)).save(tiny)
    assert check(home) == {"odd-sized image(s)": [f"{wide}: 80x90", f"{tiny}: 30x9"]}


def test_duplicates_even_under_another_encoding(home):
    first, second, third = images(home, "bounding_box_train")[:3]
    shutil.copy(first, second)
    Image.open(first).save(third.with_suffix(".png"))
    third.unlink()
    places = check(home)["duplicate image(s)"]
    assert places == [" = ".join(map(str, (first, second, third.with_suffix(".png"))))]


def test_misnamed_files(home):
    path = images(home, "query")[0]
    other = path.rename(path.with_name("cat.jpg"))
    assert check(home) == {"misnamed file(s)": [str(other)]}


def test_an_identity_in_training_and_in_test(home):
    path = images(home, "bounding_box_train")[0]  # 0001_c1...
    for camera in (7, 8):
        photo = Image.open(path).point(lambda v, c=camera: v // c)
        photo.save(home / "bounding_box_test" / f"0001_c{camera}s1_000000_00.jpg")
    (place,) = check(home).pop("identities in training and in test")
    assert place.startswith("identity 1, ")


def test_a_query_without_a_match(home):
    for path in images(home, "bounding_box_test"):
        if path.name.startswith("0009_") and "_c1" not in path.name:
            path.unlink()
    (place,) = check(home)["queries without a match under another camera"]
    assert "/0009_c1" in place


def test_differences_from_the_official_split(home):
    found = check(home, "market1501")
    assert list(found) == ["difference(s) from the official split"]
    assert "train has 96 images instead of 12,936" in found.popitem()[1]


def test_the_command_says_how_it_went(tool, home):
    result = tool("prepare_data.py", "check", "folder", "--root", home)
    assert (result.returncode, result.stdout) == (0, "folder: nothing wrong\n")
    for path in images(home, "query")[:12]:
        path.write_bytes(b"")
    result = tool("prepare_data.py", "check", "folder", "--root", home)
    assert result.returncode == 1
    assert "12 unreadable image(s)" in result.stdout and "and 2 more" in result.stdout
    result = tool("prepare_data.py", "check", "folder", "--root", home / "nowhere")
    assert result.returncode == 2 and result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["check"], "the following arguments are required: name"),
        (["polish", "folder"], "invalid choice: 'polish'"),
        (["check", "ducks"], "unknown data set 'ducks'"),
        (["check", "cuhk03", "data.options.labeled=true"], "unknown option 'labeled'"),
        (["store", "msmt17"], "MSMT17 is not under"),
        (["store", "dukemtmcreid", "data.height=tall"], "data.height"),
    ],
)
def test_mistakes_are_a_line(tool, tmp_path, arguments, said):
    result = tool("prepare_data.py", *arguments)
    assert result.returncode == 2 and said in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1 and list(tmp_path.iterdir()) == []


def test_a_written_store_is_what_training_feeds_from(tool, home, monkeypatch):
    size = ["data.height=48", "data.width=24"]
    result = tool("prepare_data.py", "store", "folder", "--root", home, *size)
    files = [home / f"stores/folder-{split}-48x24.npy" for split in ("train", "query", "gallery")]
    assert result.returncode == 0 and result.stdout.split() == [str(file) for file in files]
    assert sorted((home / "stores").iterdir()) == sorted(files)

    from reid_dcs.data import mapped

    monkeypatch.setattr(mapped, "_write", None)  # nothing is decoded again
    result = tool(
        "train_reid.py", "--dataset", "folder", "--root", home, "--model", "mobilenetv2_base",
        "data.mapped=true", "train.epochs=1", "data.batch_size=16", "data.mixup=0.4",
        "data.brightness=0.2", "data.contrast=0.15", *size,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "mAP" in result.stdout
