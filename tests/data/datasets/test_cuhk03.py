"""CUHK03 from a generated raw file and from extracted images, and its official lists."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from torchreid import data as torchreid_data

from reid_dcs import InputError
from reid_dcs.data.datasets import cuhk03, cuhk03_raw
from reid_dcs.data.datasets.cuhk03 import CUHK03

PEOPLE = (3, 2, 1, 1, 1)  # of each camera pair; in CUHK03 843, 440, 77, 58, 49
TEST_SETS = [[(1, 2), (2, 1)], [(3, 1)]]
EMPTY = {(1, 2, 4), (2, 1, 10)}  # (pair, person, image) whose cell is empty


def write_raw(path):
    """Write ``cuhk-03.mat`` as MATLAB 7.3 does: references to cells, axes reversed."""
    random = np.random.default_rng(0)
    pixels = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:

        def cells(arrays):  # arrays: a grid of MATLAB values, (rows, columns)
            grid = np.empty((len(arrays[0]), len(arrays)), dtype=h5py.ref_dtype)
            for r, row in enumerate(arrays):
                for c, value in enumerate(row):
                    name = f"cell{len(file)}"
                    file[name] = value
                    grid[c, r] = file[name].ref
            name = f"grid{len(file)}"
            file.create_dataset(name, data=grid, dtype=h5py.ref_dtype)
            return file[name]

        for kind in ("detected", "labeled"):
            pairs = []
            for pair, people in enumerate(PEOPLE, 1):
                table = []
                for person in range(1, people + 1):
                    row = []
                    for number in range(1, 11):
                        shape = (24 + number, 12, 3)
                        image = random.integers(0, 256, shape, dtype=np.uint8)
                        if (pair, person, number) in EMPTY:
                            row.append(np.zeros(2, dtype=np.uint64))  # MATLAB's empty cell
                            continue
                        view = 1 + (number > 5)
                        pixels[kind, f"{pair}_{person:03d}_{view}_{number:02d}.png"] = image
                        row.append(image.T)
                    table.append(row)
                pairs.append(cells(table).ref)
            file.create_dataset(kind, data=np.array([pairs], h5py.ref_dtype))
        sets = []
        for i, test_set in enumerate(TEST_SETS):
            file[f"set{i}"] = np.array(test_set, dtype=float).T
            sets.append(file[f"set{i}"].ref)
        file.create_dataset("testsets", data=np.array([sets], h5py.ref_dtype))
    return pixels


def write_protocol(folder, kind, names):
    """Write the new protocol's file: person 1 of each pair is for training, the others for test."""
    people = [tuple(map(int, name.split("_")[:2])) for name in names]
    order = sorted(set(people))
    labels = [order.index(person) + 1 for person in people]
    index = np.arange(1, len(names) + 1)
    train = np.array([person == 1 for _, person in people])
    query = ~train & np.array([name.endswith(("_01.png", "_06.png")) for name in names])
    savemat(
        folder / f"cuhk03_new_protocol_config_{kind}.mat",
        {
            "filelist": np.array([[name] for name in names], dtype=object),
            "labels": np.array(labels)[:, None],
            "train_idx": index[train][:, None],
            "query_idx": index[query][:, None],
            "gallery_idx": index[~train & ~query][:, None],
        },
    )


@pytest.fixture
def raw(tmp_path):
    """Root of the data set, and its pixels by (kind, name)."""
    folder = tmp_path / "cuhk03"
    pixels = write_raw(folder / "cuhk03_release/cuhk-03.mat")
    for kind in ("detected", "labeled"):
        write_protocol(folder, kind, [name for its_kind, name in pixels if its_kind == kind])
    return tmp_path, pixels


@pytest.mark.parametrize("labeled", [False, True])
def test_images_are_extracted_from_the_raw_file(raw, labeled):
    root, pixels = raw
    kind = "labeled" if labeled else "detected"
    dataset = CUHK03(str(root), cuhk03_labeled=labeled)
    folder = root / "cuhk03" / f"images_{kind}"
    expected = {name: image for (its_kind, name), image in pixels.items() if its_kind == kind}
    assert {path.name for path in folder.iterdir()} == set(expected)
    for name, image in expected.items():
        assert np.array_equal(np.array(Image.open(folder / name)), image)
    assert len(dataset.train) + len(dataset.query) + len(dataset.gallery) == len(expected)
    assert dataset.num_train_pids == 5 and {item[2] for item in dataset.query} == {0, 1}
    assert "train has 49 images instead of 7,36" in dataset.unofficial
    assert [path.name for path in (root / "cuhk03").iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize("classic", [False, True])
def test_torchreids_own_loader_finds_the_same(raw, classic):
    root, _ = raw
    options = dict(root=str(root), verbose=False, split_id=1, cuhk03_classic_split=classic)
    if not classic:
        options["split_id"] = 0
    theirs = torchreid_data.datasets.init_image_dataset("cuhk03", **options)
    ours = torchreid_data.datasets.init_image_dataset("dcs_cuhk03", **options)
    for split in ("train", "query", "gallery"):
        found = [sorted((item[0], item[2]) for item in getattr(d, split)) for d in (ours, theirs)]
        assert found[0] == found[1] and found[0]
    assert ours.num_train_pids == theirs.num_train_pids


def test_the_classic_protocol_tests_on_its_test_set(raw):
    root, pixels = raw
    for split_id, test_set in enumerate(TEST_SETS):
        dataset = CUHK03(str(root), split_id=split_id, cuhk03_classic_split=True)
        names = {item[0].split("/")[-1] for item in dataset.query}
        assert {tuple(map(int, name.split("_")[:2])) for name in names} == set(test_set)
        trained = {item[0].split("/")[-1] for item in dataset.train}
        assert dataset.gallery == dataset.query and not trained & names
        assert len(trained | names) == sum(kind == "detected" for kind, _ in pixels)
    with pytest.raises(InputError, match="data.options.split_id=2: CUHK03 has splits 0 to 1"):
        CUHK03(str(root), split_id=2, cuhk03_classic_split=True)
    with pytest.raises(InputError, match="split_id=1 .*: add data.options.cuhk03_classic_split"):
        CUHK03(str(root), split_id=1)


def test_extracted_images_are_read_without_the_raw_file(raw):
    root, _ = raw
    folder = root / "cuhk03"
    first = CUHK03(str(root))
    (folder / "cuhk03_release/cuhk-03.mat").unlink()
    assert CUHK03(str(folder)).train == first.train
    with pytest.raises(InputError, match="lacks .*cuhk-03.mat or splits_classic_detected.json"):
        CUHK03(str(root), cuhk03_classic_split=True)
    splits = [{"query": [["/elsewhere/1_002_1_01.png", 0, 0]]}]
    (folder / "splits_classic_detected.json").write_text(json.dumps(splits))
    dataset = CUHK03(str(root), cuhk03_classic_split=True)
    assert {item[1] for item in dataset.query} == {1002}


def test_images_in_market1501_layout_are_read_for_the_new_protocol(tmp_path):
    for name in (
        "bounding_box_train/0001_c1_1.png",
        "query/0003_c1_21.png",
        "bounding_box_test/0003_c2_9.png",
    ):
        path = tmp_path / "CUHK03-NP/labeled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    dataset = CUHK03(str(tmp_path), cuhk03_labeled=True)
    assert dataset.query[0][1:3] == (3, 0) and dataset.gallery[0][1:3] == (3, 1)
    with pytest.raises(InputError, match="CUHK03 is not under .*images_detected/"):
        CUHK03(str(tmp_path))


def test_an_interrupted_extraction_leaves_nothing(raw, monkeypatch):
    root, _ = raw
    before = sorted((root / "cuhk03").iterdir())
    original, saved = Image.Image.save, []

    def interrupted(image, path, **options):
        if len(saved) == 3:
            raise KeyboardInterrupt
        original(image, path, **options)
        saved.append(path)

    monkeypatch.setattr(cuhk03_raw.Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        CUHK03(str(root))
    assert len(saved) == 3 and sorted((root / "cuhk03").iterdir()) == before


def test_runs_that_need_the_images_at_once_extract_them_once(raw, monkeypatch):
    root, _ = raw
    original, extracted = cuhk03.extract_images, []

    def slowly(*arguments):
        extracted.append(arguments)
        time.sleep(0.3)
        original(*arguments)

    monkeypatch.setattr(cuhk03, "extract_images", slowly)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(CUHK03.list_files, [root] * 3)
    assert len(extracted) == 1 and first.train and all(other == first for other in others)
    assert [path.name for path in (root / "cuhk03").iterdir() if path.name[0] == "."] == []


def test_what_is_missing_or_damaged_is_named(raw, tmp_path):
    root, _ = raw
    folder = root / "cuhk03"
    with pytest.raises(InputError, match="CUHK03 is not under .*images_detected/.*cuhk-03.mat"):
        CUHK03(str(tmp_path / "nowhere"))
    CUHK03(str(root))
    (folder / "images_detected/1_001_1_01.png").unlink()
    with pytest.raises(InputError, match=r"1 missing file\(s\) in CUHK03, such as .*1_001_1_01"):
        CUHK03(str(root))
    (folder / "cuhk03_new_protocol_config_detected.mat").write_bytes(b"no MATLAB")
    with pytest.raises(InputError, match="is not a split of CUHK03's new protocol"):
        CUHK03(str(root))
    (folder / "cuhk03_new_protocol_config_detected.mat").unlink()
    with pytest.raises(InputError, match="lacks cuhk03_new_protocol_config_detected.mat"):
        CUHK03(str(root))
    (folder / "cuhk03_release/cuhk-03.mat").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="is damaged or not CUHK03's raw file"):
        CUHK03(str(root), cuhk03_labeled=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["detected", "labeled"])
def test_the_official_lists_have_the_official_counts(shared, tmp_path, kind):
    protocol = shared / f"data/splits/cuhk03/cuhk03_new_protocol_config_{kind}.mat"
    (tmp_path / protocol.name).symlink_to(protocol.resolve())
    (tmp_path / f"images_{kind}").mkdir()
    for name in loadmat(protocol)["filelist"].flatten():
        (tmp_path / f"images_{kind}" / str(name[0])).touch()
    dataset = CUHK03(str(tmp_path), cuhk03_labeled=kind == "labeled")
    assert dataset.unofficial is None and dataset.num_train_pids == 767
    paths = {split: {item[0] for item in getattr(dataset, split)} for split in ("train", "query")}
    paths["gallery"] = {item[0] for item in dataset.gallery}
    assert sum(map(len, paths.values())) == len(set().union(*paths.values()))
    people = {
        split: {path.split("/")[-1][:5] for path in split_paths}
        for split, split_paths in paths.items()
    }
    assert people["query"] == people["gallery"] and not people["train"] & people["query"]
