"""Whole runs on a few generated people, through the Python interface."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
import torch
import yaml
from helpers.paths import REPOSITORY
from PIL import Image
from torchreid import models as torchreid_models

from reid_dcs import InputError, build_model, runs
from reid_dcs.models.complexity import complexity
from reid_dcs.runtime import precision
from reid_dcs.runtime.precision import Precision
from reid_dcs.weights import Preprocessing, read_card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tiny_root):
    return {
        "data": {"root": str(tiny_root), "height": 64, "width": 32, "batch_size": 16},
        "train": {"epochs": 2},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    metrics = runs.train(settings | {"output_dir": str(output)})
    return output, metrics


def test_a_run_leaves_what_the_readme_says(trained):
    output, metrics = trained
    assert json.loads((output / "metrics.json").read_text()) == metrics
    for key in ("mAP", "rank1", "rank5", "rank10", "mINP"):
        assert 0 < metrics[key] <= 1
    assert (metrics["num_query"], metrics["num_gallery"], metrics["num_valid"]) == (36, 36, 36)
    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["data"]["height"] == 64 and config["train"]["margin"] == 0.3
    assert Image.open(output / "curves.png").size[0] > 500
    environment = json.loads((output / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert environment["processes"] == 1 and environment["device"]
    assert environment["precision"] == Precision("auto", torch.device("cpu")).name
    assert list(output.glob("events.out.tfevents.*"))
    assert not list(output.glob(".*"))


def test_a_run_prints_what_it_computes_in(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "_best", lambda device: "bfloat16")
    runs.train(settings | {"output_dir": str(tmp_path / "half")})
    assert "mobilenetv2_dcs, 2.24 M parameters, on cpu in bfloat16\n" in capsys.readouterr().out
    written = json.loads((tmp_path / "half/environment.json").read_text())
    assert written["precision"] == "bfloat16"


def test_a_checkpoint_says_what_it_is(trained):
    output, metrics = trained
    content = torch.load(output / "checkpoint.pt", weights_only=True)
    options = {"mode": "bilinear", "bounds": "clamp"}  # defaults, spelled out
    assert content["model"] == {"name": "mobilenetv2_dcs", "options": options, "num_classes": 8}
    whole_images = asdict(Preprocessing(64, 32))
    del whole_images["center_crop"]  # written only where there is one
    assert content["preprocessing"] == whole_images
    card = read_card(content, "checkpoint.pt")
    assert card.trained_on == "synthetic" and card.metrics == metrics and card.epoch == 2
    assert content["epoch"] == 2 and content["metrics"] == metrics
    assert {"optimizer", "scheduler", "rng", "config", "history"} <= set(content)


def test_evaluation_finds_what_training_found(trained, tiny_root, tmp_path):
    output, metrics = trained
    evaluated = runs.evaluate(
        {
            "eval": {"weights": str(output / "checkpoint.pt")},
            "data": {"root": str(tiny_root)},
            "output_dir": str(tmp_path / "evaluation"),
        }
    )
    for key in ("mAP", "rank1", "rank5", "rank10", "mINP", "height"):
        assert evaluated[key] == metrics[key]
    assert json.loads((tmp_path / "evaluation/metrics.json").read_text()) == evaluated
    assert (tmp_path / "evaluation/config.yaml").exists()


def test_evaluation_in_a_runs_folder_keeps_its_configuration(trained, tiny_root, tmp_path):
    output = shutil.copytree(trained[0], tmp_path / "run")
    before = (output / "config.yaml").read_text()
    runs.evaluate(
        {
            "eval": {"weights": str(output / "checkpoint.pt")},
            "data": {"root": str(tiny_root), "height": 80},
            "output_dir": str(output),
        }
    )
    assert (output / "config.yaml").read_text() == before


def test_a_plain_torchreid_checkpoint_is_evaluated(tmp_path, tiny_root):
    model = torchreid_models.build_model("osnet_x0_25", 77, "softmax", False, False)
    torch.save({"state_dict": model.state_dict(), "epoch": 1}, tmp_path / "model.pth.tar-1")
    settings = {
        "eval": {"weights": str(tmp_path / "model.pth.tar-1"), "metric": "euclidean"},
        "data": {"root": str(tiny_root)},
    }
    with pytest.raises(InputError, match="does not name its model: pass --model"):
        runs.evaluate(settings)
    metrics = runs.evaluate(settings | {"model": {"name": "osnet_x0_25"}})
    assert metrics["model"] == "osnet_x0_25" and metrics["height"] == 256
    with pytest.raises(InputError, match="another architecture"):
        runs.evaluate(settings | {"model": {"name": "mobilenetv2_base"}})


def test_a_second_evaluation_uses_the_features_of_the_first(
    trained, tiny_root, tmp_path, monkeypatch, capsys
):
    home = shutil.copytree(tiny_root / "synthetic", tmp_path / "data/synthetic")
    weights = shutil.copy(trained[0] / "checkpoint.pt", tmp_path)
    settings = {"eval": {"weights": str(weights)}, "data": {"root": str(home.parent)}}
    first = runs.evaluate(settings)
    assert len(list(tmp_path.glob("features-synthetic-*.npz"))) == 2  # beside the weights
    extracted = []
    module = sys.modules["reid_dcs.runs.ranking"]
    extract = module.extract_features

    def noted(model, loader, name, **how):
        extracted.append(name)
        return extract(model, loader, name, **how)

    monkeypatch.setattr(module, "extract_features", noted)
    assert runs.evaluate(settings) == first and not extracted
    assert "weights and images are unchanged" in capsys.readouterr().out

    def changes(**options):
        extracted.clear()
        runs.evaluate(settings | {"eval": settings["eval"] | options})
        return extracted == ["query", "gallery"]

    assert not changes(metric="euclidean") and not changes(rerank=True)
    assert changes(flip=True) and changes(flip=False)
    (tmp_path / "features-synthetic-gallery.npz").write_bytes(b"torn")
    assert changes() and not changes()
    next((home / "query").iterdir()).touch()
    assert changes() and not changes()
    content = torch.load(weights, weights_only=True)
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] += 0.01
    torch.save(content, weights)
    assert changes() and not changes() and changes(keep_features=False)


def test_an_evaluation_leaves_pictures_and_says_how_it_was_made(
    trained, tiny_root, tmp_path, capsys
):
    shutil.copytree(tiny_root / "synthetic", tmp_path / "Market-1501-v15.09.15")
    settings = {
        "eval": {"weights": str(trained[0] / "checkpoint.pt"), "ranks": 5, "rerank": True},
        "data": {"name": "market1501", "root": str(tmp_path)},
        "output_dir": str(tmp_path / "out"),
    }
    options = {"single_shot": True, "average_precision": "trapezoid"}
    metrics = runs.evaluate(settings | {"eval": settings["eval"] | options})
    said = capsys.readouterr().out
    assert "cross-domain: trained on synthetic, evaluated on market1501" in said
    for part in ("re-ranking", "classic protocol", "trapezoid"):
        assert part in said
    assert (metrics["trained_on"], metrics["dataset"]) == ("synthetic", "market1501")
    assert metrics["rerank"] == {"k1": 20, "k2": 6, "weight": 0.3} and metrics["single_shot"]
    assert Image.open(tmp_path / "out/cmc.png").size[0] > 400
    assert Image.open(tmp_path / "out/ranks.png").size[0] > 400
    lines = (tmp_path / "out/ranks.csv").read_text().splitlines()
    assert lines[0] == "query,rank,gallery,distance,match"
    assert len(lines) == 1 + 5 * metrics["num_query"]
    with pytest.raises(InputError, match="eval.ranks.*--output-dir"):
        runs.evaluate({key: settings[key] for key in ("eval", "data")})


def test_a_seed_gives_one_run(settings, trained, tmp_path):
    runs.train(settings | {"output_dir": str(tmp_path)})
    first = torch.load(trained[0] / "checkpoint.pt", weights_only=True)["state_dict"]
    again = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.release)]
)
def test_the_command_stopped_and_started_again_ends_as_one_never_stopped(
    settings, trained, tmp_path, number
):
    data = [f"data.{key}={value}" for key, value in settings["data"].items()]
    command = [sys.executable, REPOSITORY / "tools/train_reid.py", *data, "device=cpu"]
    command += ["train.epochs=2", "resume=auto", "output_dir=run"]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoint.pt").exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(number)
    said = first.communicate(timeout=60)[1].strip().splitlines()
    if number == signal.SIGTERM:
        assert first.returncode == 128 + number
        assert said[-1].startswith("interrupted; resume=auto continues from run/checkpoint.pt")
    assert not (tmp_path / "run/metrics.json").exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    whole, resumed = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["state_dict"]
        for folder in (trained[0], tmp_path / "run")
    )
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_another_configuration_is_refused_and_leaves_the_run_as_it_was(settings, trained):
    output = trained[0]
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    changed = settings | {"output_dir": str(output), "resume": "auto", "seed": 9}
    with pytest.raises(InputError, match="seed is 1 there, 9 here"):
        runs.train(changed)
    assert before == {path.name: path.read_bytes() for path in output.iterdir()}


def test_a_run_is_not_resumed_to_fewer_epochs(settings, small_network, tmp_path):
    job = settings | {"model": {"name": small_network}, "output_dir": str(tmp_path)}
    steps = {"schedule": "step", "milestones": [1]}
    runs.train(job | {"train": steps | {"epochs": 2}})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    job |= {"resume": "auto"}
    with pytest.raises(InputError, match="of epoch 2, and this run has only 1: raise train.epochs"):
        runs.train(job | {"train": steps | {"epochs": 1}})
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    runs.train(job | {"train": steps | {"epochs": 3}})
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"] == 3


@pytest.mark.parametrize(("warmup", "warned"), [(2, True), (1, False)])
def test_a_longer_run_says_that_it_keeps_a_warm_up_that_was_cut(
    warmup, warned, settings, small_network, tmp_path, capsys
):
    """Half of a run of two epochs can be warm-up."""
    job = settings | {"model": {"name": small_network}, "output_dir": str(tmp_path)}
    steps = {"schedule": "step", "warmup_epochs": warmup}
    runs.train(job | {"train": steps | {"epochs": 2}})
    runs.train(job | {"train": steps | {"epochs": 3}, "resume": "auto"})
    assert (
        "train.warmup_epochs=2 does not change it any more" in capsys.readouterr().err
    ) is warned


def test_the_cost_is_that_of_the_averaged_network(settings, tmp_path):
    """The windows of ``dcs_sw``, on which its cost depends, are not those of the last step."""
    recipe = {"epochs": 1, "ema": 0.99, "learning_rate": 1.0, "warmup_epochs": 0}
    job = settings | {"model": {"name": "mobilenetv2_dcs_sw"}, "train": recipe}
    metrics = runs.train(job | {"output_dir": str(tmp_path)})
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    network = build_model("mobilenetv2_dcs_sw", 8)
    macs = {}
    for state in ("state_dict", "raw_state_dict"):
        network.load_state_dict(content[state])
        macs[state] = complexity(network, (3, 64, 32)).total_macs
    assert macs["state_dict"] != macs["raw_state_dict"]
    assert metrics["total_macs"] == macs["state_dict"]


def test_a_torn_checkpoint_gives_way_to_the_one_before(settings, trained, tmp_path, capsys):
    output = shutil.copytree(trained[0], tmp_path / "run")
    with open(output / "checkpoint.pt", "r+b") as file:
        file.truncate(1000)
    metrics = runs.train(settings | {"output_dir": str(output), "resume": "auto"})
    assert "falling back to previous.pt" in capsys.readouterr().err
    assert metrics["mAP"] == trained[1]["mAP"]


def test_a_new_run_moves_an_earlier_one_aside(settings, tmp_path):
    output = tmp_path / "run"
    run = settings | {"output_dir": str(output), "train": {"epochs": 1}}
    first = runs.train(run)
    runs.train(run | {"seed": 2})
    assert json.loads((output / "earlier-1/metrics.json").read_text()) == first
    assert (output / "earlier-1/checkpoint.pt").exists() and (output / "checkpoint.pt").exists()


def test_without_cameras_a_run_says_that_exclusion_is_off(settings, tiny_root, tmp_path, capsys):
    home = shutil.copytree(tiny_root / "synthetic", tmp_path / "renamed")
    for path in sorted(home.rglob("*.jpg")):  # 0001_c1s1_000000_00.jpg: the camera goes
        path.rename(path.with_name(path.name.replace("_c", "_x")))
    data = settings["data"] | {"name": "folder", "root": str(home)}
    run = {"data": data, "device": "cpu", "output_dir": str(tmp_path / "run")}
    metrics = runs.train(run | {"train": {"epochs": 1}})
    assert metrics["same_camera_excluded"] is False and metrics["num_valid"] == 36
    assert "has no camera labels" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["today", "before there were cards"])
def test_a_checkpoint_remembers_its_data_sets_options(monkeypatch, trained, tmp_path, written):
    content = torch.load(trained[0] / "checkpoint.pt", weights_only=True)
    dataset = {"name": "cuhk03", "options": {"cuhk03_labeled": True}}
    if written == "today":
        content["trained_on"] = dataset
    else:
        for key in ("trained_on", "task", "command"):
            del content[key]
        content["preprocessing"] = {"height": 64, "width": 32}
        content["config"]["data"] |= dataset
    torch.save(content, tmp_path / "checkpoint.pt")
    loaded = []

    def load(name, root, options, required):
        loaded.append((name, options))
        raise InputError("seen")

    monkeypatch.setattr(sys.modules["reid_dcs.runs.data"], "load_dataset", load)
    weights = {"eval": {"weights": str(tmp_path / "checkpoint.pt")}}
    for data in ({}, {"name": "market1501"}, {"options": {"split_id": 3}}):
        with pytest.raises(InputError, match="seen"):
            runs.evaluate(weights | {"data": data})
    assert loaded == [
        ("cuhk03", {"cuhk03_labeled": True}),
        ("market1501", {}),
        ("cuhk03", {"cuhk03_labeled": True, "split_id": 3}),
    ]
