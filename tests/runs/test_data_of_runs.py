"""The data of a run: several sets at once, all images, the same when it is resumed."""

import json
import os
import shutil

import pytest
from PIL import Image

from reid_dcs import InputError
from reid_dcs.config import TrainRun, compose
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.joint import load_joint
from reid_dcs.data.fingerprint import check_same_data, fingerprint_data
from reid_dcs.runs import evaluate, train

SMALL = {"height": 32, "width": 16, "batch_size": 8}


def settings(root, output, name="synthetic", epochs=1, **options):
    return {
        "device": "cpu",
        "output_dir": str(output),
        "model": {"name": "mobilenetv2_base"},
        "data": {"name": name, "root": str(root), "options": options, **SMALL},
        "train": {"epochs": epochs, "schedule": "step"},
    }


@pytest.fixture
def root(tiny_root, tmp_path):
    """A synthetic data set, of which tests change files."""
    shutil.copytree(tiny_root / "synthetic", tmp_path / "data/synthetic")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name", ["[synthetic,folder]", ["synthetic", "folder"], "synthetic+folder"]
)
def test_several_data_sets_have_one_name(name):
    config = compose(TrainRun, {"data": {"name": name}})
    assert config.data.name == "synthetic+folder"
    assert config.output_dir == "outputs/synthetic+folder/mobilenetv2_dcs"


def test_identities_and_cameras_of_two_data_sets_are_kept_apart(root):
    options = {"folder": {"root": str(root / "synthetic")}}
    joint = load_joint("synthetic+folder", str(root), options, load_dataset)
    one = joint.parts["synthetic"]
    assert joint.num_train_pids == 2 * one.num_train_pids == 16
    assert joint.num_train_cams == 2 * one.num_train_cams
    first, second = joint.train[: len(one.train)], joint.train[len(one.train) :]
    assert {item[1] for item in first}.isdisjoint(item[1] for item in second)
    assert {item[2] for item in first}.isdisjoint(item[2] for item in second)
    assert [item[3] for item in (first[0], second[0])] == [0, 1]
    with pytest.raises(InputError, match="named twice"):
        load_joint("folder+folder", str(root), {}, load_dataset)


@pytest.mark.slow
def test_two_data_sets_are_trained_on_and_each_is_evaluated(root, tmp_path, capsys):
    options = {"folder": {"root": str(root / "synthetic"), "held_out": 0.5}}
    metrics = train(settings(root, tmp_path / "run", ["synthetic", "folder"], **options))
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    each = metrics["datasets"]
    assert list(each) == ["synthetic", "folder"] and metrics["dataset"] == "synthetic+folder"
    assert metrics["mAP"] == pytest.approx((each["synthetic"]["mAP"] + each["folder"]["mAP"]) / 2)
    assert each["synthetic"]["official_split"] and not each["folder"]["official_split"]
    assert "synthetic" in capsys.readouterr().out.splitlines()[-5]
    weights = {"eval": {"weights": str(tmp_path / "run/checkpoint.pt"), "keep_features": False}}
    with pytest.raises(InputError, match="one data set: pass --dataset synthetic or folder"):
        evaluate({**weights, "data": {"root": str(root)}})
    shutil.rmtree(root / "synthetic/bounding_box_train")  # an evaluation needs no train
    found = evaluate({**weights, "data": {"root": str(root), "name": "synthetic"}})
    assert found["mAP"] == pytest.approx(each["synthetic"]["mAP"], abs=1e-6)


@pytest.mark.slow
def test_training_on_the_test_images_is_in_the_metrics(root, tmp_path, capsys):
    metrics = train(settings(root, tmp_path / "run", combineall=True))
    assert metrics["trained_on_test_images"] and not metrics["official_split"]
    assert "72 test images are trained on, too" in capsys.readouterr().err


def change_pixels(root):
    path = next((root / "synthetic/query").iterdir())
    Image.open(path).rotate(180).save(path)


def change_one_byte_of_a_training_image(root):
    path = next((root / "synthetic/bounding_box_train").iterdir())
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def remove_an_identity(root):
    for path in (root / "synthetic/bounding_box_train").glob("0001_*"):
        path.unlink()


@pytest.mark.parametrize(
    "change, said",
    [
        (change_pixels, "other files, labels or contents under the same counts"),
        (change_one_byte_of_a_training_image, "contents under the same counts"),
        (remove_an_identity, "train had 96 images of 8 identities and 6 cameras, and has 84 imag"),
    ],
)
def test_changed_data_has_another_fingerprint(change, said, root):
    before = {"synthetic": fingerprint_data(load_dataset("synthetic", str(root)))}
    change(root)
    now = {"synthetic": fingerprint_data(load_dataset("synthetic", str(root)))}
    with pytest.raises(InputError, match=said) as error:
        check_same_data(before, now, "resume=auto")
    assert "\n" not in str(error.value)


def test_moved_or_touched_data_has_the_same_fingerprint(root, tmp_path):
    before = fingerprint_data(load_dataset("synthetic", str(root)))
    shutil.copytree(root, tmp_path / "other/place")
    for path in (tmp_path / "other/place").rglob("*.jpg"):
        os.utime(path, (1, 1))
    assert fingerprint_data(load_dataset("synthetic", str(tmp_path / "other/place"))) == before


def test_a_run_whose_data_has_changed_is_not_resumed(root, tmp_path):
    train(settings(root, tmp_path / "run"))
    longer = settings(root, tmp_path / "run", epochs=2) | {"resume": "auto"}
    checkpoint = (tmp_path / "run/checkpoint.pt").read_bytes()
    moved = root.rename(tmp_path / "moved")
    remove_an_identity(moved)
    longer["data"]["root"] = str(moved)
    with pytest.raises(InputError, match="resume=auto: the images of synthetic have changed since"):
        train(longer)
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == checkpoint
