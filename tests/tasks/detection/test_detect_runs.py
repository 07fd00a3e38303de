"""Whole runs of detection: train, resume, search, evaluate, predict, and their command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.detection import small_detector
from helpers.detection_run import settings, tiny_scenes
from helpers.paths import REPOSITORY
from PIL import Image

import reid_dcs
from reid_dcs import InputError
from reid_dcs.cli import main
from reid_dcs.config import compose, merge_layers, read_config
from reid_dcs.data.datasets.folder import Folder
from reid_dcs.engine import Trainer
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime.signals import Interrupted
from reid_dcs.tasks.detection import evaluate, predict, search, train
from reid_dcs.tasks.detection.initial import load_initial_detector
from reid_dcs.tasks.detection.job import DetectionJob
from reid_dcs.tasks.detection.predict import picture_names
from reid_dcs.tasks.detection.settings import DetectTrainRun
from reid_dcs.tasks.detection.task import parameter_groups


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_scenes(tmp_path_factory.mktemp("data"))


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


def test_a_damaged_image_leaves_nothing_behind(trained, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        predict(trained[0] / "checkpoint.pt", [tmp_path / "broken.jpg"], tmp_path / "found")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jpg"]


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
    with pytest.raises(InputError, match=r"instances_train\.json has changed since"):
        train(settings(root, tmp_path / "out", again))
    assert not (tmp_path / "out").exists()


def test_frozen_stages_and_their_statistics_do_not_change(root, tmp_path):
    config = compose(DetectTrainRun, settings(root, tmp_path, {"train": {"frozen_stages": 2}}))
    job = DetectionJob(config, torch.device("cpu"))
    job.load_data(None, None)
    network = job.build_network(config)
    trainer = job.build_trainer(config, network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    trainer.num_batches = 1
    trainer.forward_backward(next(iter(trainer.train_loader)))
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    trunk = network.backbone.trunk
    frozen = {
        name
        for name, module in network.named_modules()
        for modules in trunk.stage_modules()[:2]
        if module in modules
    }
    assert frozen and not [n for n in changed if any(n.startswith(f"{f}.") for f in frozen)]
    assert any(name.startswith("backbone.trunk.stages.4.") for name in changed)
    assert any(name.startswith("backbone.trunk.attentions.1.") for name in changed)


def test_layer_wise_decay_slows_early_stages_and_norms_do_not_decay():
    detector = small_detector()
    groups = parameter_groups(detector, 1e-3, 0.05, layer_decay=0.5)
    of = {id(p): group for group in groups for p in group["params"]}
    assert len(of) == sum(1 for _ in detector.parameters())
    trunk = detector.backbone.trunk
    for i, modules in enumerate(trunk.stage_modules()):
        for module in modules:
            for parameter in module.parameters():
                group = of[id(parameter)]
                assert group["lr"] == pytest.approx(1e-3 * 0.5 ** (4 - i))
                assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0)
    for module in (trunk.attentions, detector.roi_heads, detector.rpn, detector.backbone.fpn):
        assert {of[id(p)]["lr"] for p in module.parameters()} == {1e-3}


def test_initial_weights_of_a_classifier_or_re_id_network_go_to_the_trunk(trained, root, tmp_path):
    torch.manual_seed(5)
    model = reid_dcs.build_model("mobilenetv2_base", 7)
    detector = small_detector()
    line = load_initial_detector(detector, InitialWeights("F", model.state_dict(), None))
    assert "trunk of F" in line and "new attention" in line
    for name, value in model.trunk.state_dict().items():
        if not name.startswith("last."):
            assert torch.equal(detector.backbone.trunk.state_dict()[name], value)
    other = small_detector(num_classes=5, seed=1)
    line = load_initial_detector(other, InitialWeights("G", detector.state_dict(), None))
    assert "new class layers" in line
    torch.testing.assert_close(other.rpn.state_dict(), detector.rpn.state_dict())
    with pytest.raises(InputError):
        load_initial_detector(detector, InitialWeights("H", {"a": torch.zeros(1)}, None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"frozen_stages": 5}}, "train.frozen_stages"),
        ({"train": {"margin": 0.1}}, "detect train would ignore train.margin"),
        ({"data": {"name": "market1501"}}, "data.name"),
        ({"data": {"sizes": [8]}}, "data.sizes"),
        ({"search": {"epochs": 2}}, "detect train would ignore search.epochs"),
    ],
)
def test_wrong_settings_are_named(root, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(settings(root, tmp_path / "out", changes))
    assert not (tmp_path / "out").exists()


def test_a_search_of_a_backbone_is_refused_before_anything_is_written(root, tmp_path):
    given = settings(root, tmp_path / "out") | {"model": {"name": "fbnetv2_dcs"}}
    with pytest.raises(InputError, match="fbnetv2_dcs is searched by reid-dcs search"):
        search(given)
    assert not (tmp_path / "out").exists()


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Status, stdout and stderr of the command."""
    with pytest.raises(SystemExit) as stopped:
        main(["detect", *map(str, arguments)])
    return (stopped.value.code, *capsys.readouterr())


def test_the_commands_answer_in_one_line_and_check_counts(root, tmp_path, capsys):
    status, out, _ = run(capsys, "check", "--dataset", "scenes", "--root", root)
    assert status == 0 and "6 images" in out and "3 images" in out
    missing = tmp_path / "none.pt"
    for arguments, said in (
        (["check", "--root", tmp_path], "instances_train"),
        (["train", "--dataset", "coco", "--root", tmp_path, "device=cpu"], "instances_train"),
        (["eval", "--root", root], "--weights"),
        (["eval", "--root", root, "--weights", missing], "none.pt"),
        (
            ["predict", "--weights", missing, "--images", root, "--output-dir", tmp_path / "o"],
            "none.pt",
        ),
        (["train", "data.nme=coco"], "data.nme"),
        (["fly"], "fly"),
    ):
        status, _, err = run(capsys, *arguments)
        assert status == 2 and len(err.splitlines()) == 1 and said in err, err
    assert [*tmp_path.iterdir()] == []
    status, out, _ = run(capsys, "--help")
    assert status == 0 and "predict" in out


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
