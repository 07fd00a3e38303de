"""Whole runs: training, search, evaluation, resume, and what other commands do with the weights."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from reid_dcs import InputError, build_model, runs
from reid_dcs.attention.bounds import DEFAULT_BOUNDS
from reid_dcs.cli import main
from reid_dcs.config import compose
from reid_dcs.engine import Trainer, read_checkpoint
from reid_dcs.inference.export import export
from reid_dcs.models.complexity import complexity
from reid_dcs.models.initial import load_initial, read_initial
from reid_dcs.tasks.classification import build_classifier
from reid_dcs.tasks.classification import runs as classify
from reid_dcs.tasks.classification.settings import ClassifyTrainRun
from reid_dcs.visual import compare


@pytest.fixture(scope="module")
def trained(job, tmp_path_factory):
    """Folder and metrics of a training, with an average of the weights."""
    folder = tmp_path_factory.mktemp("trained")
    settings = job | {"train": job["train"] | {"ema": 0.5}, "output_dir": str(folder)}
    return folder, classify.train(settings | {"eval": {"every": 1, "batch_size": 8}})


def saved(folder):
    return read_checkpoint(folder / "checkpoint.pt")


def test_a_training_learns_and_writes_what_it_found(trained):
    folder, metrics = trained
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["top1"] > 0.5 and metrics["top5"] == 1.0  # of four classes
    assert set(metrics["classes"]) == {"blue", "green", "red", "white"}
    content = saved(folder)
    assert content["task"] == "classification" and content["classes"][0] == "blue"
    assert content["preprocessing"]["center_crop"] == 0.875
    assert [entry["top1"] for entry in content["history"]][-1] == metrics["top1"]
    assert "raw_state_dict" in content
    assert {"curves.png", "config.yaml", "environment.json"} <= {f.name for f in folder.iterdir()}


def test_an_evaluation_finds_what_the_training_found_and_writes_a_page(trained, pictures, tmp_path):
    folder, metrics = trained
    settings = {
        "eval": {"weights": str(folder / "checkpoint.pt"), "report": True},
        "data": {"root": str(pictures), "workers": 0},
        "device": "cpu",
        "output_dir": str(tmp_path / "out"),
    }
    found = classify.evaluate(settings)
    same = ("top1", "top5", "classes", "confusions", "params", "height")
    assert {key: found[key] for key in same} == {key: metrics[key] for key in same}
    page = (tmp_path / "out/report.html").read_text()
    for text in ("Confusions", "white", "Accuracy in training", "paper_flops", "Top-1"):
        assert text in page


@pytest.mark.parametrize("place", ["train/red", "val", "val/out", "val/red/out"])
def test_an_evaluation_writes_nothing_among_the_images(trained, pictures, place):
    before = sorted(pictures.rglob("*"))
    settings = {
        "eval": {"weights": str(trained[0] / "checkpoint.pt")},
        "data": {"root": str(pictures), "workers": 0},
        "device": "cpu",
        "output_dir": str(pictures / place),
    }
    with pytest.raises(InputError, match=f"{place} is in .*, a folder of the data set"):
        classify.evaluate(settings)
    assert sorted(pictures.rglob("*")) == before


class Stopped(Exception):
    pass


def stop_at(monkeypatch, steps):
    """Save a checkpoint after every step, and stop before one."""
    take_turn, left = Trainer.take_turn, iter(range(steps))

    def turn(self, data, names):
        if next(left, None) is None:
            raise Stopped
        return take_turn(self, data, names)

    monkeypatch.setattr("reid_dcs.engine.trainer.SAVE_SECONDS", -1)
    monkeypatch.setattr(Trainer, "take_turn", turn)


def test_the_cost_is_that_of_the_averaged_network(job, tmp_path):
    """The windows of ``dcs_sw``, on which its cost depends, are not those of the last step."""
    recipe = {"epochs": 1, "ema": 0.99, "learning_rate": 1.0, "warmup_epochs": 0}
    run = job | {"model": {"name": "tiny_dcs_sw"}, "train": recipe, "output_dir": str(tmp_path)}
    metrics = classify.train(run)
    network = build_classifier("tiny_dcs_sw", 4)
    macs = {}
    for state in ("state_dict", "raw_state_dict"):
        network.load_state_dict(saved(tmp_path)[state])
        macs[state] = complexity(network, (3, 16, 16)).total_macs
    assert macs["state_dict"] != macs["raw_state_dict"]
    assert metrics["total_macs"] == macs["state_dict"]


@pytest.mark.parametrize("steps", [6, pytest.param(4, marks=pytest.mark.slow)])
def test_an_interrupted_run_goes_on_bit_for_bit(job, tmp_path, monkeypatch, steps):
    job = job | {"resume": "auto", "train": job["train"] | {"ema": 0.5, "epochs": 2}}
    classify.train(job | {"output_dir": str(tmp_path / "whole")})
    run = job | {"output_dir": str(tmp_path / "run")}
    stop_at(monkeypatch, steps)
    with pytest.raises(Stopped):
        classify.train(run)
    monkeypatch.undo()
    classify.train(run)
    whole, resumed = saved(tmp_path / "whole"), saved(tmp_path / "run")
    for state in ("state_dict", "raw_state_dict"):
        assert all(torch.equal(resumed[state][k], v) for k, v in whole[state].items())


def test_a_run_whose_images_have_changed_is_not_resumed(job, pictures, tmp_path):
    root = shutil.copytree(pictures, tmp_path / "colors")
    run = job | {"data": job["data"] | {"root": str(root)}, "output_dir": str(tmp_path / "run")}
    classify.train(run | {"train": job["train"] | {"epochs": 1}})
    (root / "train/red/000.png").unlink()
    with pytest.raises(
        InputError, match="train images have changed since: they were 32 images, 4 c"
    ):
        classify.train(run | {"train": job["train"] | {"epochs": 1}, "resume": "auto"})


@pytest.mark.parametrize("name", ["tiny_dcs_sw", pytest.param("tiny_dcs", marks=pytest.mark.slow)])
def test_channels_are_searched_and_the_result_is_trained(job, tmp_path, name, capsys):
    search = {"epochs": 2, "calibration": 6, "window_share": 0.25}
    run = job | {"model": {"name": name}, "search": search, "output_dir": str(tmp_path)}
    metrics = classify.search(run | {"train": job["train"] | {"epochs": 1}})
    assert metrics["num_images"] == 16
    found = saved(tmp_path / "search")
    assert set(found["optimizer"]) == {"weights", "windows"} and found["task"] == "classification"
    assert "block" in capsys.readouterr().out
    windows = json.loads((tmp_path / "windows.json").read_text())
    assert windows["images"] == 6 and list(windows["blocks"]) == ["trunk.attentions.0"]


@pytest.mark.slow
def test_a_backbone_is_searched_and_its_weights_start_a_reid_network(job, tmp_path):
    search = {"epochs": 1, "calibration": 8, "target_gmacs": 0.003}
    data = job["data"] | {"height": 32, "width": 32}
    run = {"model": {"name": "fbnetv2_base"}, "search": search, "output_dir": str(tmp_path)}
    classify.search(job | run | {"data": data, "train": {"epochs": 1}})
    found = str(tmp_path / "architecture.json")
    network = build_model("fbnetv2_base", 5, architecture=found)
    weights = read_initial(str(tmp_path / "checkpoint.pt"))
    said = load_initial(network, weights, "fbnetv2_base", {"architecture": found})
    assert "new neck; new classifier for 5 identities, the file has 4" in said


def test_weights_start_a_reid_network(tmp_path):
    classifier = build_classifier("mobilenetv2_dcs", 7)
    options = {"mode": "bilinear", "bounds": DEFAULT_BOUNDS}
    card = {"model": {"name": "mobilenetv2_dcs", "options": options}, "task": "classification"}
    torch.save({"state_dict": classifier.state_dict()} | card, tmp_path / "classifier.pt")
    network = build_model("mobilenetv2_dcs", 5)
    weights = read_initial(str(tmp_path / "classifier.pt"))
    said = load_initial(network, weights, "mobilenetv2_dcs", {})
    assert said.endswith("new neck; new classifier for 5 identities, the file has 7")
    for name, value in classifier.trunk.state_dict().items():
        assert torch.equal(network.trunk.state_dict()[name], value)


def test_other_commands_take_the_weights_or_name_the_right_command(trained, pictures, tmp_path):
    weights = str(trained[0] / "checkpoint.pt")
    compare.gradcam([weights], [str(pictures / "val/red")], str(tmp_path / "cam"))
    assert len(list((tmp_path / "cam/maps").glob("*.npy"))) == 4
    with pytest.raises(InputError, match="--pair: .* classifies images and has no similarity"):
        picture = str(pictures / "val/red/000.png")
        compare.gradcam([weights], [picture], str(tmp_path / "pair"), pair=picture)
    path, said = export(weights, tmp_path / "weights.safetensors")
    settings = {"data": {"root": str(pictures), "workers": 0}, "device": "cpu"}
    found = classify.evaluate(settings | {"eval": {"weights": str(path)}})
    one_image = 1 / found["num_images"]  # whose class rounding to float16 may decide
    assert found["top1"] == pytest.approx(trained[1]["top1"], abs=one_image)
    assert "rounded by" in said
    with pytest.raises(InputError, match="task 'classification', not 'reid': .* classify eval"):
        runs.evaluate({"eval": {"weights": weights}})
    with pytest.raises(InputError, match="task 'reid', not 'classification': .* reid-dcs eval"):
        classify.evaluate({"eval": {"weights": "mobilenetv2_dcs_synthetic"}})


@pytest.mark.slow
def test_a_network_is_exported_to_onnx(trained, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    path, said = export(str(trained[0] / "checkpoint.pt"), tmp_path / "network.onnx")
    assert path.exists() and said.startswith("logits of length 1 differ")


@pytest.mark.parametrize(
    "names, said",
    [
        (["blue", "green", "red"], "has 3 names: the weights have 4 outputs"),
        (["blue", "green", "white", "red"], "output 2 is 'red', not 'white'"),
    ],
)
def test_a_label_map_that_does_not_fit_the_weights_is_one_line(
    trained, pictures, tmp_path, names, said
):
    (tmp_path / "map.txt").write_text("\n".join(names))
    data = {"root": str(pictures), "label_map": str(tmp_path / "map.txt")}
    weights = {"weights": str(trained[0] / "checkpoint.pt")}
    with pytest.raises(InputError, match=said):
        classify.evaluate({"eval": weights, "data": data})


def test_bare_weights_need_as_many_classes_as_outputs(pictures, tmp_path):
    torch.save(build_classifier("tiny_base", 3).state_dict(), tmp_path / "bare.pth")
    data, weights = {"root": str(pictures)}, {"weights": str(tmp_path / "bare.pth")}
    with pytest.raises(InputError, match="does not name its model: pass --model NAME"):
        classify.evaluate({"eval": weights, "data": data})
    with pytest.raises(InputError, match="has 3 outputs, but the images have 4 classes"):
        classify.evaluate({"eval": weights, "data": data, "model": {"name": "tiny_base"}})


def test_settings_of_other_tasks_are_refused_by_name():
    with pytest.raises(InputError, match="classify train would ignore train.margin, which is a"):
        compose(ClassifyTrainRun, {"train": {"margin": 0.3}})
    with pytest.raises(InputError, match="classify train would ignore search.epochs"):
        compose(ClassifyTrainRun, {"search": {"epochs": 3}})
    with pytest.raises(InputError, match="train would ignore data.crop_scale, which is a setting"):
        runs.train({"data": {"crop_scale": 0.5}})


def test_an_unreadable_image_stops_an_evaluation_by_name(job, pictures, tmp_path, trained):
    root = shutil.copytree(pictures, tmp_path / "colors")
    (root / "val/red/002.png").write_bytes(b"nothing")
    weights = {"weights": str(trained[0] / "checkpoint.pt")}
    with pytest.raises(InputError, match=r"1 unreadable or truncated image.*red/002\.png"):
        classify.evaluate({"eval": weights, "data": {"root": str(root), "workers": 0}})


def test_logits_that_are_not_finite_stop_an_evaluation_by_name(pictures, tmp_path, trained):
    path = tmp_path / "large.pt"
    content = torch.load(trained[0] / "checkpoint.pt", weights_only=True)
    content["state_dict"]["classifier.weight"].fill_(3e38)  # finite, but not times a feature
    torch.save(content, path)
    with pytest.raises(InputError, match=r"the logits of \d+ image.*not finite, such as of .*png"):
        classify.evaluate(
            {"eval": {"weights": str(path)}, "data": {"root": str(pictures), "workers": 0}}
        )


@pytest.mark.parametrize("left", ["none of it", "the weight"])
def test_a_classification_network_needs_its_classifier(left, trained, tmp_path):
    content = torch.load(trained[0] / "checkpoint.pt", weights_only=True)
    for key in [key for key in content["state_dict"] if key.startswith("classifier.")]:
        if left == "none of it" or key.endswith("bias"):
            del content["state_dict"][key]
    torch.save(content, tmp_path / "bare.pt")
    with pytest.raises(InputError, match="classifier"):
        export(tmp_path / "bare.pt", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_the_command_ends_with_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["classify", "train", "--root", str(tmp_path), "--model", "tiny_base"])
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and said.startswith("error: data.root=") and "\n" not in said


@pytest.mark.slow
def test_two_processes_share_the_images_and_evaluate_each_once(pictures, tmp_path):
    script = tmp_path / "classify.py"
    script.write_text('from reid_dcs.cli import main\n\nif __name__ == "__main__":\n    main()\n')
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    arguments = f"classify train --root {pictures} --model mobilenetv2_base --output-dir out"
    settings = "device=cpu data.height=32 data.width=32 data.batch_size=8 data.workers=0"
    short = "train.epochs=1 eval.batch_size=5 data.storage=mapped"
    command = [sys.executable, *torchrun, str(script), *f"{arguments} {settings} {short}".split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["num_images"] == 16 and len(metrics["classes"]) == 4
    assert len(saved(tmp_path / "out")["rng"]) == 2  # one state a process
