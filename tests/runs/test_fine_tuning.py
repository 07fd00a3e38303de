"""Runs that start from a file of weights: what they take from it, and when they read it."""

import shutil

import pytest
import torch

from reid_dcs import InputError, build_model, runs
from reid_dcs.config import TrainRun, compose
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.jobs.networks import initial_weights
from reid_dcs.runs import data
from reid_dcs.runs.network import build_network, training_preprocessing
from reid_dcs.search.engine import SearchEngine
from reid_dcs.weights import ModelCard

THERE = 5  # identities of the file; the run has 8
SMALL = {"height": 32, "width": 16, "batch_size": 32, "num_instances": 4}
STILL = {"optimizer": "sgd", "learning_rate": 0.0, "weight_decay": 0.0}


SEARCH = {"epochs": 2, "calibration": 8, "weight_optimizer": STILL, "window_optimizer": STILL}
STATISTICS = ("classifier", "running_", "num_batches")
"""Parts of the names of what changes at a learning rate of 0."""


class Stopped(Exception):
    pass


def stop_at(monkeypatch, epoch, engine=ReIDEngine):
    """The n-th epoch of an engine raises."""
    original = ReIDEngine.train

    def train(self):
        if type(self) is engine and self.epoch == epoch:
            raise Stopped
        return original(self)

    monkeypatch.setattr(ReIDEngine, "train", train)


def saved(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["state_dict"]


def assert_same(found, expected, ignore=()):
    names = [name for name in expected if not any(part in name for part in ignore)]
    assert names
    for name in names:
        assert torch.equal(found[name], expected[name]), name


@pytest.fixture
def file(tmp_path, small_network):
    """Weights of a network, as a function of its name."""

    def written(name):
        torch.manual_seed(2)
        state = build_model(name, THERE).state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
        options = {"mode": "bilinear", "bounds": "clamp"} if "_dcs" in name else {}
        card = ModelCard(name, options, trained_on="market1501")
        torch.save({"state_dict": state} | card.to_dict(), tmp_path / "initial.pt")
        return state

    return written


@pytest.fixture
def run(tiny_root, tmp_path, small_network):
    """Train or search in ``tmp_path/run`` from ``tmp_path/initial.pt``."""

    def started(name, command=runs.train, folder="run", options=None, **train):
        return command(
            {
                "model": {"name": name, "options": options or {}},
                "data": {"root": str(tiny_root)} | SMALL,
                "train": {"epochs": 2, "init": str(tmp_path / "initial.pt")} | train,
                "device": "cpu",
                "resume": "auto",
                "output_dir": str(tmp_path / folder),
            }
            | ({"search": SEARCH} if command is runs.search else {})
        )

    return started


def test_a_run_starts_from_the_file_and_says_so(file, run, tmp_path, capsys):
    state = file("small")
    run("small", epochs=1, **STILL)
    assert_same(saved(tmp_path / "run"), state, ignore=STATISTICS)
    said = capsys.readouterr().out
    assert f"initial weights: {tmp_path / 'initial.pt'} (small, trained on" in said
    assert f"new classifier for 8 identities, the file has {THERE}" in said


def test_a_frozen_backbone_keeps_the_files_weights_and_statistics(file, run, tmp_path):
    state = file("small")
    run("small", epochs=1, frozen_epochs=1)
    found = saved(tmp_path / "run")
    assert_same(found, state, ignore=["neck", "classifier"])
    assert found["classifier.weight"].shape[0] == 8


def test_torchreids_networks_have_no_feature_after_a_neck(run):
    with pytest.raises(InputError, match="after_neck: osnet_x0_25 is not a network of this"):
        run("osnet_x0_25", init="", triplet_feature="after_neck")


@pytest.mark.parametrize("command", [runs.train, runs.search])
def test_the_triplet_loss_compares_the_feature_that_is_asked_for(run, tmp_path, command):
    """Those after the neck have unit length: the loss is at most the margin plus the diameter."""
    losses = {}
    for feature in ("before_neck", "after_neck", "auto"):
        train = {"epochs": 1, "init": "", "triplet_feature": feature}
        run("mobilenetv2_dcs", command, feature, **train)
        folder = tmp_path / feature / ("search" if command is runs.search else "")
        content = torch.load(folder / "checkpoint.pt", weights_only=True)
        losses[feature] = content["history"][0]["triplet"]
    assert losses["before_neck"] != losses["after_neck"] == losses["auto"] < 0.3 + 2


def test_imagenet_weights_are_not_needed(file, tmp_path, monkeypatch):
    state, name = file("mobilenetv2_base"), "mobilenetv2_base"
    model = {"name": name, "pretrained": str(tmp_path / "absent.pth")}
    train = {"init": str(tmp_path / "initial.pt")}
    config, cpu = compose(TrainRun, {"model": model, "train": train}), torch.device("cpu")
    weights = initial_weights(config.train.init, training_preprocessing(config))
    found = build_network(config, 8, cpu, weights).state_dict()
    assert_same(found, state, ignore=["classifier"])
    build_network(config, 8, cpu)  # of a resumed run

    def loaded(*_):
        raise Stopped

    monkeypatch.setattr(data, "load_dataset", loaded)
    with pytest.raises(Stopped):
        data.load_data(config, cpu, weights)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_goes_on_exactly_without_the_file(file, run, tmp_path, monkeypatch, ema):
    file("small")
    run("small", folder="whole", ema=ema)
    stop_at(monkeypatch, epoch=1)
    with pytest.raises(Stopped):
        run("small", ema=ema)
    monkeypatch.undo()
    (tmp_path / "initial.pt").unlink()
    run("small", ema=ema)
    assert_same(saved(tmp_path / "run"), saved(tmp_path / "whole"))


def test_another_file_is_another_run(file, run, tmp_path):
    file("small")
    run("small", epochs=1)
    other = shutil.copy(tmp_path / "initial.pt", tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"train\.init is '.*initial.pt' there, '.*other.pt' here"):
        run("small", epochs=1, init=str(other))


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("mobilenetv2_base", {}, "another architecture"),
        ("mobilenetv2_dcs", {"mode": "interp"}, "mode=bilinear"),
    ],
)
@pytest.mark.parametrize("command", [runs.train, runs.search])
def test_wrong_weights_are_refused_before_anything_is_read_or_written(
    run, tmp_path, monkeypatch, name, options, said, command
):
    monkeypatch.setattr(data, "load_dataset", lambda *_: pytest.fail("data were read"))
    with pytest.raises(InputError, match=said):
        run(name, command, options=options, init="mobilenetv2_dcs_synthetic")
    with pytest.raises(InputError, match="no weights at"):
        run(name, command, options=options, init="absent.pt")
    assert not (tmp_path / "run").exists()


def test_a_backbone_search_starts_from_scratch(run):
    with pytest.raises(InputError, match=r"train\.init: a backbone search starts from scratch"):
        run("fbnetv2_dcs", runs.search)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2_dcs", "mobilenetv2_dcs_sw"])
def test_a_search_and_its_training_start_from_the_file(file, run, tmp_path, name):
    """The windows of dcs_sw go to a network built anew, which starts from the file too."""
    state = file(name)
    run(name, runs.search, **STILL)
    for folder in (tmp_path / "run/search", tmp_path / "run"):
        assert_same(saved(folder), state, ignore=STATISTICS)


@pytest.mark.slow
def test_an_interrupted_search_goes_on_without_the_file(file, run, tmp_path, monkeypatch):
    file("mobilenetv2_dcs")
    run("mobilenetv2_dcs", runs.search, folder="whole")
    for engine in (SearchEngine, ReIDEngine):
        stop_at(monkeypatch, 1, engine)
        with pytest.raises(Stopped):
            run("mobilenetv2_dcs", runs.search)
        monkeypatch.undo()
        (tmp_path / "initial.pt").unlink(missing_ok=True)
    run("mobilenetv2_dcs", runs.search)
    assert_same(saved(tmp_path / "run"), saved(tmp_path / "whole"))
