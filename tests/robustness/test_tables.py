"""Tables of users: any dialect is read as it is meant, and mistakes are one line."""

import random

import pytest
from helpers.folders import findings, splits, write_table

from reid_dcs import InputError
from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.tables import alike_labels


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
