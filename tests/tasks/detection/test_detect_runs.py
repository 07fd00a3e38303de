"""Whole runs of detection: train, resume, search, evaluate, predict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.detection_run import settings, tiny_scenes
from helpers.paths import REPOSITORY
from PIL import Image

from reid_dcs import InputError
from reid_dcs.config import compose, merge_layers, read_config
from reid_dcs.data.datasets.folder import Folder
from reid_dcs.engine import Trainer
from reid_dcs.runtime.signals import Interrupted
from reid_dcs.tasks.detection import evaluate, predict, search, train
from reid_dcs.tasks.detection.job import DetectionJob
from reid_dcs.tasks.detection.predict import picture_names
from reid_dcs.tasks.detection.settings import DetectTrainRun


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """The output folder of a training of two epochs with a moving average."""
    output = tmp_path_factory.mktemp("run") / "out"
    metrics = train(settings(root, output, {"train": {"epochs": 2, "ema": 0.5}}))
    return output, metrics


def checkpoint(folder, name="checkpoint.pt"):
    return torch.load(folder / name, weights_only=True)


def test_a_training_writes_metrics_and_a_checkpoint_that_describes_itself(trained):
    output, metrics = trained
    written = json.loads((output / "metrics.json").read_text())
    assert written == metrics
    for key in ("box_AP", "box_AP50", "mask_AP", "mask_AP_small", "params", "flops"):
        assert key in metrics
    assert metrics["classes"].keys() == {"person", "bicycle"}
    content = checkpoint(output)
    assert content["task"] == "detection" and content["model"]["name"] == "mobilenetv2_dcs"
    assert content["model"]["num_classes"] == 2
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    assert content["preprocessing"]["height"] == 64
    assert "raw_state_dict" in content  # beside the moving average
    history = content["history"]
    assert {"loss", "classifier", "box_reg", "mask", "objectness", "rpn_box_reg"} <= {*history[0]}
    for entry in history:
        parts = ("classifier", "box_reg", "mask", "objectness", "rpn_box_reg")
        assert entry["loss"] == pytest.approx(sum(entry[part] for part in parts), rel=1e-4)


def test_evaluation_of_the_checkpoint_gives_the_metrics_of_the_training(trained, root, tmp_path):
    output, metrics = trained
    found = evaluate(
        {
            "eval": {"weights": str(output / "checkpoint.pt"), "report": True},
            "data": {"name": "coco", "root": str(root / "scenes")},
            "output_dir": str(tmp_path / "eval"),
            "device": "cpu",
        }
    )
    for key in ("box_AP", "box_AP50", "mask_AP", "classes", "dataset", "model"):
        assert found[key] == metrics[key]
    assert json.loads((tmp_path / "eval/metrics.json").read_text())["box_AP"] == found["box_AP"]
    written = read_config(tmp_path / "eval/config.yaml")
    assert written["model"]["name"] == "mobilenetv2_dcs" and written["eval"]["report"] is True
    page = (tmp_path / "eval/report.html").read_text()
    assert "bicycle" in page and f"{100 * found['box_AP']:.1f}" in page


def test_predictions_are_cocos_results_pictures_and_crops_for_re_id(trained, root, tmp_path):
    output, _ = trained
    images = [root / f"scenes/images/{split}/000000.jpg" for split in ("train", "val")]
    content = predict(output / "checkpoint.pt", images, tmp_path / "found", threshold=0.05)
    results = json.loads((tmp_path / "found/results.json").read_text())
    assert results == content["annotations"] and len(results) > 0
    assert {*results[0]} == {"image_id", "category_id", "bbox", "score", "segmentation"}
    listed = json.loads((tmp_path / "found/images.json").read_text())
    assert [each["id"] for each in listed["images"]] == [1, 2]
    assert {each["image_id"] for each in results} <= {1, 2}
    pictures = sorted((tmp_path / "found/pictures").iterdir())
    assert [path.name for path in pictures] == ["000000-2.jpg", "000000.jpg"]
    assert Image.open(pictures[0]).size == (64, 48)
    crops = [*(tmp_path / "found/people/gallery").iterdir()]
    assert len(crops) == sum(each["category_id"] == 1 for each in results)
    listing = Folder.list_files(tmp_path / "found/people", ("gallery",))
    assert len(listing.splits["gallery"]) == len(crops)
    with pytest.raises(InputError, match="there already"):
        predict(output / "checkpoint.pt", images, tmp_path / "found")


def test_an_evaluation_refuses_what_it_would_ignore(trained, root):
    given = {
        "eval": {"weights": str(trained[0] / "checkpoint.pt")},
        "data": {"root": str(root)},
        "device": "cpu",
    }
    with pytest.raises(InputError, match="eval.report needs an output folder"):
        evaluate(merge_layers(given, {"eval": {"report": True}}))
    with pytest.raises(InputError, match="holds mobilenetv2_dcs, not resnet50_sa: leave --model"):
        evaluate(given | {"model": {"name": "resnet50_sa"}})
    for option, said in (({"windows": 1}, "windows=1"), ({"nonsense": 7}, "nonsense=7")):
        with pytest.raises(InputError, match=f"{said}: .* was trained with the default of"):
            evaluate(given | {"model": {"options": option}})


@pytest.mark.parametrize("place", ["annotations", "images/x", "images/val"])
def test_nothing_is_written_among_the_data(trained, root, place):
    weights, inside = str(trained[0] / "checkpoint.pt"), root / "scenes" / place
    before = sorted(root.rglob("*"))
    given = {
        "eval": {"weights": weights},
        "data": {"name": "coco", "root": str(root / "scenes")},
        "output_dir": str(inside),
        "device": "cpu",
    }
    with pytest.raises(InputError, match=f"{place} is in .*, a folder of the data set"):
        evaluate(given)
    with pytest.raises(InputError, match=f"{place}/new is in .*, a folder given to --images"):
        predict(weights, [inside if inside.is_dir() else inside.parent], inside / "new")
    assert sorted(root.rglob("*")) == before


def test_a_damaged_image_leaves_nothing_behind(trained, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        predict(trained[0] / "checkpoint.pt", [tmp_path / "broken.jpg"], tmp_path / "found")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jpg"]


def test_a_split_without_objects_and_changed_annotations_are_refused(trained, tmp_path):
    root = tiny_scenes(tmp_path)
    file = root / "scenes/annotations/instances_val.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | {"annotations": []}))
    with pytest.raises(InputError, match="has no objects to evaluate on"):
        train(settings(root, tmp_path / "out"))
    file.write_text(json.dumps(whole))
    file = root / "scenes/annotations/instances_train.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"annotations": content["annotations"][1:]}))
    checkpoint = str(trained[0] / "checkpoint.pt")
    again = {"train": {"epochs": 2, "ema": 0.5}, "resume": checkpoint}
    with pytest.raises(InputError, match="the train images have changed since: they were 6 images"):
        train(settings(root, tmp_path / "out", again))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("report", [False, True])
def test_an_evaluation_without_objects_writes_nothing(trained, tmp_path, report):
    root = tiny_scenes(tmp_path)
    file = root / "scenes/annotations/instances_val.json"
    content = json.loads(file.read_text())
    for emptied in ({"annotations": []}, {"annotations": [], "images": []}):
        file.write_text(json.dumps(content | emptied))
        given = {
            "eval": {"weights": str(trained[0] / "checkpoint.pt"), "report": report},
            "data": {"root": str(root)},
            "output_dir": str(tmp_path / "out"),
            "device": "cpu",
        }
        with pytest.raises(InputError, match="has no objects to evaluate on"):
            evaluate(given)
        assert not (tmp_path / "out").exists()


def change_an_annotation(root):
    file = root / "scenes/annotations/instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] += 1
    file.write_text(json.dumps(content))


def change_an_image(root):
    path = root / "scenes/images/val/000001.jpg"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [change_an_annotation, change_an_image])
def test_a_run_resumes_only_with_the_images_it_is_evaluated_on(trained, tmp_path, change):
    root = tiny_scenes(tmp_path)
    saved = checkpoint(trained[0])

    def load(split):
        config = settings(root, tmp_path / "out", {"eval": {"split": split}})
        job = DetectionJob(compose(DetectTrainRun, config), torch.device("cpu"))
        job.load_data(None, saved)

    load("val")
    change(root)
    with pytest.raises(InputError, match="the val images have changed since: other files, labels"):
        load("val")
    load("train")  # the changed split is not used
    saved["data"] = {"train": "0123456789abcdef"}
    with pytest.raises(InputError, match="its data entry is damaged or of another version"):
        load("val")


@pytest.mark.slow
def test_an_interrupted_training_resumes_bit_for_bit(root, tmp_path, monkeypatch):
    changes = {
        "data": {"sizes": [48, 64], "crop": 0.5, "batch_size": 1},
        "train": {"epochs": 2, "ema": 0.5, "accumulate": 2},
    }
    whole = settings(root, tmp_path / "whole", changes)
    train(whole)
    expected = checkpoint(tmp_path / "whole")

    forward_backward, calls = Trainer.forward_backward, []

    def stop_in_the_second_epoch(self, data):
        calls.append(self)
        if len(calls) == 9:  # of 12; after an odd number of batches of the epoch
            self.signals.received = 15
        return forward_backward(self, data)

    parts = settings(root, tmp_path / "parts", changes | {"resume": "auto"})
    monkeypatch.setattr(Trainer, "forward_backward", stop_in_the_second_epoch)
    with pytest.raises(Interrupted):
        train(parts)
    assert checkpoint(tmp_path / "parts")["batch"] > 0
    monkeypatch.setattr(Trainer, "forward_backward", forward_backward)
    train(parts)
    found = checkpoint(tmp_path / "parts")
    for key in ("state_dict", "raw_state_dict"):
        for name, value in expected[key].items():
            assert torch.equal(found[key][name], value), name
    assert found["metrics"]["box_AP"] == expected["metrics"]["box_AP"]


@pytest.mark.slow
def test_a_search_updates_weights_and_windows_in_turn_and_trains_the_result(root, tmp_path):
    changes = {"search": {"epochs": 1, "window_share": 0.5, "calibration": 2}}
    metrics = search(settings(root, tmp_path / "out", changes))
    assert "box_AP" in metrics
    content = checkpoint(tmp_path / "out/search")
    assert {*content["optimizer"]} == {"weights", "windows"}
    windows = json.loads((tmp_path / "out/windows.json").read_text())
    assert len(windows["blocks"]) == 4
    searched, final = content["state_dict"], checkpoint(tmp_path / "out")["state_dict"]
    selects = [name for name in final if ".select." in name]
    assert selects and all(torch.equal(searched[name], final[name]) for name in selects)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["base", pytest.param("dcs", marks=pytest.mark.release)])
def test_a_tiny_detector_learns_a_few_scenes_by_heart(root, tmp_path, kind):
    """The tiny version of configs/detection/overfit.yaml: losses, targets and evaluation fit."""
    changes = {
        "model": {
            "name": f"mobilenetv2_{kind}",
            "options": {"channels": 24, "hidden": 64, "samples": 32},
        },
        "data": {"sizes": [96], "max_size": 128, "batch_size": 3, "flip": 0.0},
        "train": {"epochs": 60, "learning_rate": 2e-3, "weight_decay": 0.0},
        "eval": {"split": "train"},
    }
    metrics = train(settings(root, tmp_path / "out", changes))
    print({key: metrics[key] for key in ("box_AP", "box_AP50", "mask_AP50")})
    assert metrics["box_AP50"] > 0.5 and metrics["mask_AP50"] > 0.1


PROCESS = """
import json, sys
from reid_dcs.tasks.detection import train
train(json.loads(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.release
def test_two_processes_train_on_halves_of_a_batch_and_evaluate_all_images(root, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(PROCESS)
    given = settings(root, tmp_path / "out", {"data": {"batch_size": 1}})
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "--standalone", script, json.dumps(given)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["num_images"] == 3 and 0 <= metrics["box_AP"] <= 1
    assert len(checkpoint(tmp_path / "out")["rng"]) == 2


def test_pictures_of_one_name_are_told_apart():
    paths = [Path(name) for name in ("x/a.jpg", "y/a.jpg", "z/a-2.jpg", "w/b.png")]
    assert picture_names(paths) == ["a", "a-2", "a-2-2", "b"]
