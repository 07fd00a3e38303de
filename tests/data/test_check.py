"""tools/prepare_data.py: findings in damaged copies of the synthetic data set, and stores."""

import shutil

import pytest
from PIL import Image

from reid_dcs.data.check import inspect_dataset


@pytest.fixture
def root(tiny_root, tmp_path):
    """Copy of the synthetic data set to damage, read as a custom data set."""
    return shutil.copytree(tiny_root / "synthetic", tmp_path / "data")


def images(root, split):
    return sorted((root / split).iterdir())


def check(root, name="folder"):
    return dict(inspect_dataset(name, str(root), {}).findings)


def test_an_intact_data_set_has_no_findings(root):
    assert check(root) == {}


def test_unreadable_and_truncated_images(root):
    empty, noise, cut = images(root, "bounding_box_train")[:3]
    empty.write_bytes(b"")
    noise.write_bytes(b"this is no picture")
    with open(cut, "rb+") as file:
        file.truncate(file.seek(0, 2) // 2)
    assert check(root) == {
        "unreadable image(s)": [str(empty), str(noise)],
        "truncated image(s)": [str(cut)],
    }


def test_an_image_of_another_size(root):
    path = images(root, "query")[2]
    Image.open(path).resize((70, 128)).save(path)
    assert check(root) == {"odd-sized image(s)": [f"{path}: 128x70 instead of 128x64"]}


def test_if_sizes_vary_only_tiny_and_landscape_images_are_odd(root):
    for i, path in enumerate(paths := sorted(root.rglob("*.jpg"))):
        Image.open(path).resize((50 + i % 40, 120 + i)).save(path)
    wide, tiny = paths[5], paths[9]
    Image.open(wide).resize((90, 80)).save(wide)
    Image.open(tiny).resize((9, 30)).save(tiny)
    assert check(root) == {"odd-sized image(s)": [f"{wide}: 80x90", f"{tiny}: 30x9"]}


def test_duplicates_are_found_in_other_encodings(root):
    first, second, third = images(root, "bounding_box_train")[:3]
    shutil.copy(first, second)
    Image.open(first).save(third.with_suffix(".png"))
    third.unlink()
    places = check(root)["duplicate image(s)"]
    assert places == [" = ".join(map(str, (first, second, third.with_suffix(".png"))))]


def test_misnamed_files(root):
    path = images(root, "query")[0]
    other = path.rename(path.with_name("cat.jpg"))
    assert check(root) == {"misnamed file(s)": [str(other)]}


def test_an_identity_in_training_and_in_test(root):
    path = images(root, "bounding_box_train")[0]  # 0001_c1...
    for camera in (7, 8):
        photo = Image.open(path).point(lambda v, c=camera: v // c)
        photo.save(root / "bounding_box_test" / f"0001_c{camera}s1_000000_00.jpg")
    (place,) = check(root).pop("identities in training and in test")
    assert place.startswith("identity 1, ")


def test_a_query_without_a_match(root):
    for path in images(root, "bounding_box_test"):
        if path.name.startswith("0009_") and "_c1" not in path.name:
            path.unlink()
    (place,) = check(root)["queries without a match under another camera"]
    assert "/0009_c1" in place


def test_differences_from_the_official_split(root):
    found = check(root, "market1501")
    assert list(found) == ["difference(s) from the official split"]
    assert "train has 96 images instead of 12,936" in found.popitem()[1]


def test_the_exit_status_and_output_of_the_command(tool, root):
    result = tool("prepare_data.py", "check", "folder", "--root", root)
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "folder: no faults found",
        "images: 168 JPEG RGB",
        "              images  identities     cameras",
        "train             96           8           6",
        "query             36           6           6",
        "gallery           36           6           6",
    ]
    for path in images(root, "query")[:12]:
        path.write_bytes(b"")
    result = tool("prepare_data.py", "check", "folder", "--root", root)
    assert result.returncode == 1
    assert "12 unreadable image(s)" in result.stdout and "and 2 more" in result.stdout
    result = tool("prepare_data.py", "check", "folder", "--root", root / "nowhere")
    assert result.returncode == 2 and result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: action, name; see --help"),
        (["check"], "the following arguments are required: name; see --help"),
        (["polish", "folder"], "invalid choice: 'polish'"),
        (["check", "ducks"], "unknown data set 'ducks'"),
        (["check", "cuhk03", "data.options.labeled=true"], "unknown option 'labeled'"),
        (["store", "msmt17"], "MSMT17 is not under"),
        (["store", "dukemtmcreid", "data.height=tall"], "data.height"),
    ],
)
def test_mistakes_are_one_line(tool, tmp_path, arguments, message):
    result = tool("prepare_data.py", *arguments)
    assert result.returncode == 2 and message in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_training_reads_a_written_store(tool, root, monkeypatch):
    size = ["data.height=48", "data.width=24"]
    result = tool("prepare_data.py", "store", "folder", "--root", root, *size)
    files = [root / f"stores/folder-{split}-48x24.npy" for split in ("train", "query", "gallery")]
    assert result.returncode == 0 and result.stdout.split() == [str(file) for file in files]
    assert sorted((root / "stores").iterdir()) == sorted(files)

    from reid_dcs.data import mapped

    monkeypatch.setattr(mapped, "_write", None)  # fails if an image is decoded again
    result = tool(
        "train_reid.py", "--dataset", "folder", "--root", root, "--model", "mobilenetv2_base",
        "data.mapped=true", "train.epochs=1", "data.batch_size=16", "data.mixup=0.4",
        "data.brightness=0.2", "data.contrast=0.15", *size,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "mAP" in result.stdout
