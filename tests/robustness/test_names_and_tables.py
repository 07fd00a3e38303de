"""What users' folders and tables are named like: read as they are meant, or said."""

import random
import shutil

import numpy as np
import pytest
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.names import NameLabels, read_camera, read_name
from reid_dcs.data.datasets.tables import alike_labels
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


def write(root, *names, seed=0):
    """Write images that all differ."""
    drawn = np.random.default_rng([seed, len(names)])
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name, "PNG")


def write_table(root, split, text, encoding="utf-8"):
    (root / f"{split}.csv").write_bytes(text.encode(encoding))


@pytest.fixture
def root(tmp_path):
    """Query and gallery of one person, and two to train on."""
    write(
        tmp_path, "train/1_c1.jpg", "train/2_c1.jpg", "train/1_c2.jpg", "query/3_c1.jpg",
        "gallery/3_c2.jpg", "gallery/4_c1.jpg",
    )  # fmt: skip
    return tmp_path


def splits(root, **options):
    dataset = load_dataset("folder", str(root), options)
    return dataset.train, dataset.query, dataset.gallery


def findings(root):
    return dict(inspect_dataset("folder", str(root), {}).findings)


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


# folders of identities


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


def test_images_beside_folders_of_images_are_refused(root):
    write(root, "train/7/a_c1.jpg")
    with pytest.raises(InputError, match=r"1 misnamed file\(s\) .*train/7/a_c1.jpg"):
        splits(root)


# what a command needs


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


# tables


@pytest.fixture
def tables(root):
    for split, text in {
        "train": "path,identity,camera\ntrain/1_c1.jpg,1,a\ntrain/2_c1.jpg,2,a\n",
        "query": "path,identity,camera\nquery/3_c1.jpg,3,a\n",
        "gallery": "path,identity,camera\ngallery/3_c2.jpg,3,b\ngallery/4_c1.jpg,4,a\n",
    }.items():
        write_table(root, split, text)
    return root


DIALECTS = {
    "semicolons": "path;identity;camera\ntrain/1_c1.jpg;1;a\ntrain/2_c1.jpg;2;a\n",
    "tabs": "path\tidentity\tcamera\ntrain/1_c1.jpg\t1\ta\ntrain/2_c1.jpg\t2\ta\n",
    "other names": "Image_Path,PID,CamID\ntrain/1_c1.jpg,1,a\ntrain/2_c1.jpg,2,a\n",
    "person_id": "path,person_id,camera_id\ntrain/1_c1.jpg,1,a\ntrain/2_c1.jpg,2,a\n",
    "more columns": (
        "id,path,frame,identity,camera,note\n7,train/1_c1.jpg,3,1,a,x\n8,train/2_c1.jpg,9,2,a,\n"
    ),
    "backslashes": "path,identity,camera\ntrain\\1_c1.jpg,1,a\ntrain\\2_c1.jpg,2,a\n",
    "a byte order mark": "\ufeffpath,identity,camera\ntrain/1_c1.jpg,1,a\ntrain/2_c1.jpg,2,a\n",
    "lines of Windows": "path,identity,camera\r\ntrain/1_c1.jpg,1,a\r\n\r\ntrain/2_c1.jpg,2,a\r\n",
    "quotes": '"path","identity","camera"\n"train/1_c1.jpg","1","a"\n"train/2_c1.jpg","2","a"\n',
    "spaces": "path , identity , camera\ntrain/1_c1.jpg , 1 , a\n train/2_c1.jpg, 2, a \n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_of_tables(tables, dialect):
    write_table(tables, "train", DIALECTS[dialect])
    train, *_ = splits(tables)
    assert [item[1:3] for item in train] == [(0, 0), (1, 0)]
    assert [item[0].split("/")[-1] for item in train] == ["1_c1.jpg", "2_c1.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tables, encoding):
    write_table(tables, "train", DIALECTS["tabs"], encoding)
    with pytest.raises(InputError, match="train.csv is in UTF-16: save it as UTF-8"):
        splits(tables)


@pytest.mark.parametrize(
    "text, said",
    [
        ("path,identity,pid\na,1,1\n", "identity, pid all name the identity"),
        ("path;camera\na;1\n", "must name the columns path, identity"),
        ("", "not nothing"),
        ("path,identity\ntrain/1_c1.jpg,1,2\n", "line 2: expected path,identity"),
        ("path,identity,camera\n" + "x" * 300 + ".jpg,1,a\n", "1 missing file"),
        ("path,identity,camera\n\0.jpg,1,a\n", "line|missing|read"),
    ],
)
def test_mistakes_in_tables_are_one_line(tables, text, said):
    write_table(tables, "train", text)
    with pytest.raises(InputError, match=said) as error:
        splits(tables)
    assert "\n" not in str(error.value)


def test_fields_of_tables_are_words(tables):
    write_table(tables, "train", "path,identity,camera\ntrain/1_c1.jpg,1,1\ntrain/1_c2.jpg,01,01\n")
    dataset = load_dataset("folder", str(tables))
    assert dataset.num_train_pids == 2 and dataset.num_train_cams == 2
    assert [warning.split(" are ")[0] for warning in dataset.warnings] == [
        "identity labels 01 and 1",
        "camera labels 01 and 1",
    ]
    assert "label(s) that are equal as numbers and different as words" in findings(tables)


def test_a_number_that_a_spreadsheet_rewrote_is_refused(tables):
    write_table(tables, "train", "path,identity,camera\ntrain/1_c1.jpg,3.0,a\n")
    with pytest.raises(InputError, match=r"identity labels 3 and 3.0 are one number"):
        splits(tables)
    assert alike_labels(["100.0", "200.0", "100.5", "1e2"], "identity") == []


@pytest.mark.parametrize("junk", ["-1", " -1 ", "-1.0"])
def test_identity_minus_one_is_junk_in_tables_too(tables, junk):
    with open(tables / "gallery.csv", "a") as file:
        file.write(f"train/1_c2.jpg,{junk},a\n")
    assert [item[1] for item in splits(tables)[2]] == [3, 4]
    report = inspect_dataset("folder", str(tables), {})
    assert dict(report.ignored)["junk image(s) of identity -1"] == [str(tables / "train/1_c2.jpg")]


def test_a_file_listed_under_two_identities_or_twice_is_found(tables):
    with open(tables / "train.csv", "a") as file:
        file.write("train/1_c1.jpg,2,a\ntrain/2_c1.jpg,2,a\n")
    found = findings(tables)
    assert found["image(s) under several identities"][0].endswith("identities 1, 2")
    assert len(found["image(s) listed twice in a split"]) == 2


def test_identities_of_any_size(tables):
    big = str(2**64)
    write_table(
        tables, "train", f"path,identity,camera\ntrain/1_c1.jpg,{big},a\ntrain/2_c1.jpg,2,a\n"
    )
    train, *_ = splits(tables)
    assert {item[1] for item in train} == {0, 1}


def test_fuzzed_tables_are_read_or_refused_in_one_line(tables):
    rng = random.Random(0)
    whole = (tables / "train.csv").read_bytes()
    pieces = [b",", b";", b"\t", b'"', b"\0", b"\xff", b"\n", b"\r", b"identity", b"path", b"-1",
              b"9" * 5000, b"../", b"\\", b"\xef\xbb\xbf", b"=1+1", b"e" * 300]  # fmt: skip
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content) + 1)
            content[at : at + rng.choice((0, 0, 1, 9))] = rng.choice(pieces)
        (tables / "train.csv").write_bytes(content)
        try:
            splits(tables)
        except InputError as error:
            assert "\n" not in str(error)


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
