"""What users' folders and files are named like: read as they are meant, or said."""

import random
import shutil

import pytest
from helpers.folders import findings, splits, write
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.names import NameLabels, read_camera, read_name
from reid_dcs.data.image_files import FORMATS, IMAGE_SUFFIXES

NAMES = {
    "0002_c1s1_000451_03.jpg": (2, "1"),
    "0002_c3s1_000001_01.jpg.jpg": (2, "3"),
    "2_c01.png": (2, "1"),
    "0005_c2_f0046985.jpg": (5, "2"),
    "0001_c3f0000062.jpg": (1, "3"),
    "0001_C6_F0099_X30823.jpg": (1, "6"),
    "0001_cam2_9.jpg": (1, "2"),
    "0001_Camera_12.jpg": (1, "12"),
    "001_1_c7_015833.png": (1, "7"),  # LTCC: identity, clothes, camera
    "0001C1T0001F001.jpg": (1, "1"),  # MARS
    "00-1C2T0001F001.jpg": (-1, "2"),
    "1_001_2_06.png": (1001, "2"),  # CUHK03
    "5_033_1_01.png": (5033, "1"),
    "0003_012_09_0303morning_0021_0.jpg": (3, "9"),  # MSMT17
    "0002_c1 (1).jpg": (2, "1"),
    "-1_c3.jpg": (-1, "3"),
    "0002.tif": (2, ""),
    "0002_cat.jpg": (2, ""),
    "3fa85f64.jpg": None,
    "3c1bb2aa.jpg": None,
    "-5_c1.jpg": None,
    "cat.jpg": None,
    "2-c1.jpg": None,
    "1e5_c1.jpg": None,
    "²_c1.jpg": None,
    f"{10**18}_c1.jpg": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(name):
    labels = NAMES[name]
    assert read_name(name) == (labels and NameLabels(*labels))


@pytest.mark.parametrize("name", ["c1", "c01_9.jpg", "x_C1.jpg", "cam1", "camera-1", "0007_c1.jpg"])
def test_cameras_of_folders_and_files_inside_a_persons_folder(name):
    assert read_camera(name) == "1"


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_is_read_everywhere(root, suffix):
    write(root, f"train/5_c1{suffix.upper()}", seed=1)
    assert len(splits(root)[0]) == 4 and findings(root) == {}
    assert suffix in Image.registered_extensions()
    assert Image.registered_extensions()[suffix] in FORMATS


def test_every_ignored_file_is_counted_and_named(root, capsys):
    others = ["train/._1_c1.jpg", "train/Thumbs.db", "query/notes.txt", "train/9_c1.heic"]
    write(root, *others, "gallery/-1_c1.jpg", "train/__MACOSX/1_c1.jpg", seed=1)
    report = inspect_dataset("folder", str(root), {})
    assert dict(report.findings) == {
        "image(s) of a format that is not read": [str(root / "train/9_c1.heic")]
    }
    assert {
        reason: [path.split("/")[-1] for path in paths] for reason, paths in report.ignored
    } == {
        "file(s) that are no images": ["notes.txt"],
        "hidden or system file(s)": ["._1_c1.jpg", "Thumbs.db", "__MACOSX"],
        "junk image(s) of identity -1": ["-1_c1.jpg"],
    }
    assert str(report).splitlines()[-4:] == [
        "              images  identities     cameras",
        "train              3           2           2",
        "query              1           1           1",
        "gallery            2           2           2",
    ]
    warnings = load_dataset("folder", str(root)).warnings
    assert len(warnings) == 2 and any("9_c1.heic: ignored" in warning for warning in warnings)


def test_cameras_of_names_are_numbers(root):
    write(root, "gallery/3_c01.jpg", "gallery/03_c002_1.jpg", seed=1)
    *_, query, gallery = splits(root)
    assert {item[2] for item in query + gallery} == {0, 1}
    assert [item[1] for item in gallery] == [3, 3, 3, 4]


def test_hashes_as_names_are_refused(root):
    write(root, "train/3fa85f64.jpg", "train/3c1bb2aa.jpg", seed=1)
    with pytest.raises(InputError, match=r"2 misnamed file\(s\)"):
        splits(root)


def test_both_names_of_a_split_are_refused(root):
    write(root, "bounding_box_train/1_c1.jpg")
    with pytest.raises(InputError, match="are both the train split"):
        splits(root)


def test_an_image_under_two_identities_is_found(root):
    shutil.copy(root / "train/1_c1.jpg", root / "train/2_c2.jpg")
    (place,) = findings(root)["image(s) under several identities"]
    assert "1_c1.jpg" in place and "2_c2.jpg" in place and place.endswith("identities 1, 2")


def test_a_split_of_one_identity_is_found(root):
    (root / "train/2_c1.jpg").unlink()
    assert "single identity" in findings(root)["unusable split(s)"][0]


def test_a_folder_per_identity(root):
    shutil.rmtree(root / "train")
    write(
        root, "train/0007/a_c1.jpg", "train/07/b_c02.jpg", "train/zoe/c1/x.jpg", "train/-1/c1.jpg"
    )
    train, *_ = splits(root)
    assert [(item[1], item[2]) for item in train] == [(0, 0), (0, 1), (1, 0)]


def test_a_folder_per_identity_without_cameras(tmp_path):
    write(
        tmp_path, "train/1/a.jpg", "train/2/a.jpg", "query/3/a.jpg", "gallery/3/b.jpg",
        "gallery/4/3fa85f64.jpg",
    )  # fmt: skip
    dataset = load_dataset("folder", str(tmp_path))
    assert not dataset.cameras_known and [item[1] for item in dataset.gallery] == [3, 4]
    assert findings(tmp_path) == {}


@pytest.mark.parametrize(
    "links",
    [
        {"0001/again": ".", "0001/more": "."},
        {"0001/up": "..", "0001/top": "../.."},
        {"0001/other": "../0002", "0002/other": "../0001"},
        {"0003": ".", "0004": "0001", "0005": "../train"},
        {"0001/pool": "../../pool", "../pool/again": ".", "../pool/back": "../train/0001"},
    ],
)
def test_links_give_no_image_again(root, links):
    shutil.rmtree(root / "train")
    write(root, "train/0001/a_c1.jpg", "train/0001/c2/b.jpg", "train/0002/a_c1.jpg", "pool/note")
    (root / "pool/note").unlink()
    for name, target in links.items():
        (root / "train" / name).symlink_to(target)
    report = inspect_dataset("folder", str(root), {})
    assert report.counts["train"] == (3, 2, 2) and report.findings == []
    ((reason, places),) = report.ignored
    assert reason == "folder(s) in a folder of images"
    expected = {name for name in links if "pool" not in name}
    expected |= {name.replace("../pool", "0001/pool") for name in links if "../pool" in name}
    assert {path.removeprefix(f"{root}/train/") for path in places} == expected


def test_a_real_folder_is_read_before_a_link_to_it(root):
    shutil.rmtree(root / "train")
    write(root, "train/0001/c2/a.jpg", "train/0002/c1/a.jpg")
    (root / "train/0001/c1").symlink_to("c2")
    assert [item[0] for item in splits(root)[0]][0] == str(root / "train/0001/c2/a.jpg")


def test_linked_folders_that_are_elsewhere_are_read(root):
    shutil.rmtree(root / "train")
    elsewhere = ["real/0001/a_c1.jpg", "people/two/c1/a.jpg", "cameras/1/0003/a.jpg", "b.jpg"]
    write(root, *(f"elsewhere/{name}" for name in elsewhere))
    (root / "train").symlink_to("elsewhere/real")
    (root / "elsewhere/real/0002").symlink_to(root / "elsewhere/people/two")
    (root / "elsewhere/real/0003").mkdir()
    (root / "elsewhere/real/0003/c4").symlink_to("../../cameras/1/0003")
    (root / "elsewhere/real/0003/b_c1.jpg").symlink_to("../../b.jpg")
    (root / "linked").symlink_to(".")
    train, *_ = splits(root / "linked")
    assert [(item[1], item[2]) for item in train] == [(0, 0), (1, 0), (2, 0), (2, 2)]
    assert inspect_dataset("folder", str(root), {}).ignored == []


def test_images_beside_folders_of_images_are_refused(root):
    write(root, "train/7/a_c1.jpg")
    with pytest.raises(InputError, match=r"1 misnamed file\(s\) .*train/7/a_c1.jpg"):
        splits(root)


def test_an_evaluation_needs_no_train(root):
    shutil.rmtree(root / "train")
    dataset = load_dataset("folder", str(root), required=("query", "gallery"))
    assert dataset.train == [] and len(dataset.gallery) == 2
    with pytest.raises(InputError, match="lacks train"):
        splits(root)
    report = inspect_dataset("folder", str(root), {})
    assert report.findings == [] and report.counts["train"] == (0, 0, 0)


def test_held_out_identities_need_no_query_and_gallery(root):
    for split in ("query", "gallery"):
        shutil.rmtree(root / split)
    write(root, "train/2_c2.jpg", "train/2_c2_b.jpg", "train/2_c1_b.jpg", seed=1)
    train, query, gallery = splits(root, held_out=0.5)
    assert [len(items) for items in (train, query, gallery)] == [2, 2, 2]
    with pytest.raises(InputError, match="lacks query, gallery"):
        splits(root)


def test_official_layouts_need_no_train_to_evaluate(tiny_root, tmp_path):
    folder = shutil.copytree(tiny_root / "synthetic", tmp_path / "synthetic")
    shutil.rmtree(folder / "bounding_box_train")
    dataset = load_dataset("synthetic", str(tmp_path), required=("query", "gallery"))
    assert dataset.train == [] and len(dataset.query) == 36
    market = load_dataset("market1501", str(folder), required=("query", "gallery"))
    assert len(market.query) == 36
    with pytest.raises(InputError, match="lacks bounding_box_train/"):
        load_dataset("market1501", str(folder))


def test_combineall_trains_on_the_test_images_and_says_so(root):
    write(root, "gallery/-1_c1.jpg", seed=1)
    dataset = load_dataset("folder", str(root), {"combineall": True})
    assert len(dataset.train) == 6 and dataset.num_train_pids == 4
    assert dataset.trained_on_test and dataset.unofficial == "3 test images are trained on, too"
    assert len(dataset.query) == 1 and len(dataset.gallery) == 2
    with pytest.raises(InputError, match="choose one of them"):
        load_dataset("folder", str(root), {"combineall": True, "held_out": 0.5})


def test_fuzzed_names_have_an_identity_or_none():
    rng = random.Random(0)
    pieces = ["0002", "c1", "_", "-1", "s1", "cam", "C", "T0001", "F001", "x", " ", ".jpg", "²"]
    pieces += ["\uff19", "9" * 60, "-", "(1)", "\udcff", "3fa8"]
    for _ in range(2000):
        name = "".join(rng.choices(pieces, k=rng.randint(1, 6)))
        labels = read_name(name)
        if labels is not None:
            assert -1 <= labels.identity < 10**18
            assert not labels.camera or labels.camera == str(int(labels.camera))
