"""Custom data sets: labels in names or CSV files, with and without cameras."""

import pytest

from reid_dcs import InputError
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.folder import Folder


def write_names(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_tables(root, header, **rows):
    for split, lines in rows.items():
        (root / f"{split}.csv").write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture
def pictures(tmp_path):
    write_names(tmp_path, *(f"pictures/{name}.png" for name in "abcdef"))
    return tmp_path


def test_names_as_in_market1501(tmp_path):
    write_names(
        tmp_path, "train/0007_c3_x.jpg", "train/0002_c10.png", "query/0011_c3.jpg",
        "gallery/0011_c10s1_3.jpeg", "gallery/0004_c3.jpg", "gallery/-1_c3.jpg", "query/notes.txt",
    )  # fmt: skip
    dataset = load_dataset("folder", str(tmp_path))
    assert [item[1:3] for item in dataset.train] == [(0, 1), (1, 0)]  # cameras 3 and 10
    assert [item[1:3] for item in dataset.query] == [(11, 0)]
    assert [item[1:3] for item in dataset.gallery] == [(4, 0), (11, 1)]
    assert dataset.cameras_known and dataset.unofficial is None


def test_market1501_folder_names_are_accepted(tmp_path):
    write_names(
        tmp_path, "bounding_box_train/1_c1.jpg", "query/2_c1.jpg", "bounding_box_test/2_c2.jpg"
    )
    assert len(Folder(str(tmp_path)).gallery) == 1


def test_tables_with_string_labels(pictures):
    write_tables(
        pictures,
        "path, identity, camera",
        train=["pictures/a.png,zoe,hall", "pictures/b.png,adam,door"],
        query=["pictures/c.png,eve,hall"],
        gallery=["pictures/d.png,eve,door", "pictures/e.png,kim,hall"],
    )
    dataset = Folder(str(pictures))
    assert [item[1:3] for item in dataset.train] == [(1, 1), (0, 0)]
    (query,), (match, other) = dataset.query, dataset.gallery
    assert query[1] == match[1] != other[1] and query[2] == other[2] != match[2]
    assert query[0] == str(pictures / "pictures/c.png")


def test_without_cameras_query_and_gallery_differ_in_camera(pictures):
    write_tables(
        pictures,
        "path,identity",
        train=["pictures/a.png,1", "pictures/b.png,2"],
        query=["pictures/c.png,3"],
        gallery=["pictures/d.png,3", "pictures/e.png,4"],
    )
    dataset = Folder(str(pictures))
    assert not dataset.cameras_known
    assert not {item[2] for item in dataset.query} & {item[2] for item in dataset.gallery}


def test_names_without_cameras(tmp_path):
    write_names(tmp_path, "train/1_a.jpg", "query/2_b.jpg", "gallery/2_c.jpg")
    assert not Folder(str(tmp_path)).cameras_known


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            {"train": ["pictures/a.png,1,2,3"]},
            r"train.csv, line 2: expected path,identity\[,camera\]",
        ),
        ({"train": ["pictures/a.png,,2"]}, "train.csv, line 2"),
        ({"train": ["pictures/a.png,1,"]}, "1 of 3 images .* have no camera, such as .*a.png"),
        ({"query": ["pictures/z.png,1,2"]}, r"1 missing file\(s\) in folder, such as .*z.png"),
        ({"gallery": []}, "no images in the gallery split"),
    ],
)
def test_mistakes_in_tables(pictures, rows, message):
    good = {
        "train": ["pictures/a.png,1,1"],
        "query": ["pictures/c.png,3,1"],
        "gallery": ["pictures/d.png,3,2"],
    }
    write_tables(pictures, "path,identity,camera", **{**good, **rows})
    with pytest.raises(InputError, match=message):
        Folder(str(pictures))


def test_a_table_without_its_header_is_refused(pictures):
    write_tables(pictures, "pictures/a.png,1,1", train=[], query=[], gallery=[])
    with pytest.raises(InputError, match="train.csv: the first line must name the columns"):
        Folder(str(pictures))


def test_an_image_that_would_match_itself_is_refused(pictures):
    rows = ["pictures/c.png,3"]
    write_tables(pictures, "path,identity", train=["pictures/a.png,1"], query=rows, gallery=rows)
    with pytest.raises(InputError, match="in query and gallery, such as .*c.png"):
        Folder(str(pictures))


def test_what_is_missing_or_misnamed_is_named(tmp_path):
    with pytest.raises(InputError, match="lacks train, query, gallery: a custom data set has"):
        Folder(str(tmp_path))
    write_names(tmp_path, "train/1_c1.jpg", "query/2_c1.jpg", "gallery/2_c2.jpg", "query/cat.jpg")
    with pytest.raises(InputError, match=r"1 misnamed file\(s\) in folder, such as .*cat.jpg"):
        Folder(str(tmp_path))
    write_tables(tmp_path, "path,identity", train=["train/1_c1.jpg,1"])
    with pytest.raises(InputError, match="lacks query.csv, gallery.csv"):
        Folder(str(tmp_path))


def test_an_unknown_option_is_named(tmp_path):
    with pytest.raises(InputError, match="unknown option 'labeled' of data set cuhk03; known: spl"):
        load_dataset("cuhk03", str(tmp_path), {"labeled": True})
