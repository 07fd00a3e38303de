"""Market-1501's layout, the synthetic data set, and errors for missing or misnamed files."""

import csv
import shutil

import pytest
from torchreid import data as torchreid_data

from reid_dcs import InputError
from reid_dcs.data.datasets import DATASETS, load_dataset
from reid_dcs.data.datasets.market1501 import Market1501
from reid_dcs.data.datasets.synthetic import Synthesis, Synthetic, draw_dataset


def write_images(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"not decoded")


@pytest.fixture
def market(tmp_path):
    """A few files in Market-1501's layout, with junk and distractors."""
    folder = tmp_path / "Market-1501-v15.09.15"
    write_images(
        folder / "bounding_box_train",
        "0007_c1s1_000001_01.jpg",
        "0002_c6s1_000001_01.jpg",
        "0002_c3s1_000001_01.jpg.jpg",
    )
    write_images(folder / "query", "0011_c1s1_000001_00.jpg")
    write_images(
        folder / "bounding_box_test",
        "0011_c2s1_000001_01.jpg",
        "0000_c2s1_000001_01.jpg",
        "-1_c2s1_000001_01.jpg",
    )
    return tmp_path


def test_names_become_identities_and_cameras(market):
    dataset = Market1501(str(market))
    assert [item[1:3] for item in dataset.train] == [(0, 2), (0, 5), (1, 0)]  # relabeled
    assert [item[1:3] for item in dataset.query] == [(11, 0)]
    assert [item[1:3] for item in dataset.gallery] == [(0, 1), (11, 1)]  # junk is dropped
    assert "3 images instead of 12,936" in dataset.unofficial


@pytest.mark.parametrize("inside", ["", "Market-1501-v15.09.15"])
def test_the_root_may_be_the_data_set_or_contain_it(market, inside):
    assert len(Market1501(str(market / inside)).train) == 3


def test_torchreid_builds_it_by_name(market):
    dataset = torchreid_data.datasets.init_image_dataset(
        "dcs_market1501", root=str(market), mode="query", combineall=True, verbose=False
    )
    assert len(dataset) == 1 and dataset.num_train_pids == 3


def test_an_absent_data_set_error_names_files_and_searched_folders(tmp_path):
    with pytest.raises(InputError) as error:
        Market1501(str(tmp_path / "nowhere"))
    for part in ("bounding_box_train/", "query/", "nowhere/Market-1501-v15.09.15", "--root"):
        assert part in str(error.value)


def test_a_missing_folder_is_named(market):
    shutil.rmtree(market / "Market-1501-v15.09.15/query")
    with pytest.raises(InputError, match="lacks query/"):
        Market1501(str(market))


def test_an_empty_split_is_named(market):
    (market / "Market-1501-v15.09.15/query/0011_c1s1_000001_00.jpg").unlink()
    with pytest.raises(InputError, match="no images in .*query"):
        Market1501(str(market))


def test_misnamed_files_are_counted_and_named(market):
    write_images(market / "Market-1501-v15.09.15/query", "cat.jpg", "dog.jpg")
    with pytest.raises(InputError, match=r"2 misnamed file\(s\) .*cat.jpg: rename them as"):
        Market1501(str(market))


def test_an_unknown_data_set_is_named():
    with pytest.raises(InputError, match="unknown data set 'ducks'; known: .*market1501"):
        load_dataset("ducks", ".")


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_are_registered_with_torchreid(name):
    with pytest.raises(ValueError, match="already exists"):
        torchreid_data.register_image_dataset(f"dcs_{name}", DATASETS[name])


@pytest.mark.slow
def test_the_real_market1501_is_the_official_one(market1501_root, shared):
    dataset = Market1501(str(market1501_root))
    assert dataset.unofficial is None
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (12936, 3368, 15913)
    assert dataset.num_train_pids == 751
    assert len({item[1] for item in dataset.query}) == 750
    assert {item[2] for item in dataset.train + dataset.gallery} == set(range(6))
    for split, items in (("train", dataset.train), ("query", dataset.query)):
        with open(shared / f"data/splits/names/market1501_{split}.csv") as file:
            official = {path.split("/")[-1] for _, path in csv.reader(file)}
        assert {item[0].split("/")[-1] for item in items} == official


def test_generated_identities_are_disjoint_and_queries_have_matches(tiny_root):
    dataset = Synthetic(str(tiny_root))
    trained = {item[0].split("/")[-1][:4] for item in dataset.train}
    tested = {item[0].split("/")[-1][:4] for item in dataset.gallery}
    assert len(trained) == 8 and len(tested) == 6 and not trained & tested
    assert len(dataset.train) == 8 * 6 * 2 and len(dataset.query) == 6 * 6
    assert {item[1] for item in dataset.query} == {item[1] for item in dataset.gallery}


def test_a_seed_generates_the_same_files(tmp_path):
    small = Synthesis(train_identities=1, test_identities=1, pictures=2)
    for name in ("a", "b"):
        draw_dataset(tmp_path / name, small)
    files = sorted((tmp_path / "a").rglob("*.jpg"))
    assert len(files) == 24
    for file in files:
        same_file = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == same_file.read_bytes()


def test_generation_never_replaces_other_files(tmp_path):
    write_images(tmp_path / "synthetic", "holiday.jpg")
    with pytest.raises(InputError, match="is not a generated data set"):
        Synthetic(str(tmp_path))
    assert (tmp_path / "synthetic/holiday.jpg").exists()


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    from reid_dcs.data.datasets import synthetic

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "photograph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "synthetic", Synthesis(1, 1, 1))
    assert list(tmp_path.iterdir()) == []


def test_distractors_join_the_gallery(market):
    folder = market / "Market-1501-v15.09.15"
    with pytest.raises(InputError, match="lacks images/"):
        Market1501(str(market), market1501_500k=True)
    write_images(folder / "images", "0000_c1s1_000001_01.jpg")
    dataset = Market1501(str(market), market1501_500k=True)
    assert len(dataset.gallery) == 3 and dataset.unofficial is None  # no official counts


def test_an_image_of_another_kind_is_misnamed(market):
    write_images(market / "Market-1501-v15.09.15/query", "0011_c1s1_000002_00.png", "Thumbs.db")
    with pytest.raises(InputError, match=r"1 misnamed file\(s\) .*0011_c1s1_000002_00.png"):
        Market1501(str(market))
