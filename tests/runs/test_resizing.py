"""Progressive resizing in whole runs: exact resume in each phase, evaluation at the full size."""

import os
import signal

import pytest
import torch
from helpers.paths import REPOSITORY

from reid_dcs import InputError, runs
from reid_dcs.config import TrainRun, compose, read_config
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.runs.data import check_phases
from reid_dcs.runtime.signals import Interrupted

BATCHES = [3, 6, 6]  # of each epoch: 96 images


@pytest.fixture(scope="module")
def settings(tiny_root, small_network):
    """An epoch each at 32x16, 48x24 and 64x32."""
    return {
        "model": {"name": small_network},
        "data": {
            "root": str(tiny_root),
            "height": 64,
            "width": 32,
            "batch_size": 16,
            "num_instances": 4,
            "phases": [
                {"epochs": 1, "height": 32, "width": 16, "batch_size": 32, "padding": 1},
                {"epochs": 1, "height": 48, "width": 24},
            ],
        },
        "train": {"epochs": 3, "warmup_epochs": 1.5, "accumulate": 2, "ema": 0.9},
        "device": "cpu",
        "resume": "auto",
    }


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """Every batch's size and learning rate, and the folder of a run that is never interrupted."""
    folder, seen = tmp_path_factory.mktemp("whole"), []
    forward_backward = ReIDEngine.forward_backward

    def noted(self, batch):
        rate = self.optimizers["weights"][0].param_groups[0]["lr"]
        seen.append((*batch["img"].shape, rate))
        return forward_backward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReIDEngine, "forward_backward", noted)
        metrics = runs.train(settings | {"output_dir": str(folder)})
    return folder, seen, metrics


def test_each_epoch_has_its_size_and_all_have_one_schedule(whole):
    """Two batches a step: 2, 3 and 3 steps; the warm-up takes 1.5 epochs, 3.5 steps."""
    _, seen, metrics = whole
    sizes = [(32, 3, 32, 16)] * 3 + [(16, 3, 48, 24)] * 6 + [(16, 3, 64, 32)] * 6
    assert [size for *size, _ in seen] == [list(size) for size in sizes]
    steps = sorted({rate for *_, rate in seen}, reverse=True)
    assert len(steps) == 8  # each its own rate, up and down
    assert max(rate for *_, rate in seen) == pytest.approx(2e-3)
    assert (metrics["height"], metrics["width"]) == (64, 32)


@pytest.mark.parametrize(
    "batch", [2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 9, 12))]
)
def test_a_run_stopped_in_any_phase_ends_as_one_never_stopped(
    settings, whole, tmp_path, monkeypatch, batch
):
    forward_backward, calls = ReIDEngine.forward_backward, iter(range(1, sum(BATCHES) + 1))

    def interrupted(self, data):
        if next(calls) == batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward_backward(self, data)

    run = settings | {"output_dir": str(tmp_path)}
    monkeypatch.setattr(ReIDEngine, "forward_backward", interrupted)
    with pytest.raises(Interrupted):
        runs.train(run)
    monkeypatch.undo()
    assert runs.train(run)["mAP"] == whole[2]["mAP"]
    expected, found = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole[0], tmp_path)
    )
    for key in ("state_dict", "raw_state_dict"):
        for name, value in expected[key].items():
            assert torch.equal(found[key][name], value), name
    assert found["scheduler"] == expected["scheduler"]


def test_a_run_with_other_phases_is_another_run(settings, whole):
    data = settings["data"] | {"phases": settings["data"]["phases"][:1]}
    with pytest.raises(InputError, match=r"data\.phases is .* there"):
        runs.train(settings | {"data": data, "output_dir": str(whole[0])})


def test_a_run_says_its_sizes(settings, tmp_path, capsys):
    data = settings["data"] | {"phases": settings["data"]["phases"][:1]}
    train = settings["train"] | {"epochs": 2}
    run = settings | {"data": data, "train": train, "output_dir": str(tmp_path)}
    runs.train(run)
    assert "training at 32x16 for 1 epochs, then 64x32\n" in capsys.readouterr().out


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_full_size_gets_an_epoch(settings, epochs, tmp_path):
    run = settings | {"train": {"epochs": epochs}, "output_dir": str(tmp_path / "run")}
    with pytest.raises(InputError, match="data.phases takes 2 epochs.*64x32: raise train.epochs"):
        runs.train(run)
    assert not (tmp_path / "run").exists()


def test_a_search_has_one_size(settings, tmp_path):
    run = settings | {"model": {"name": "mobilenetv2_dcs_sw"}, "output_dir": str(tmp_path / "run")}
    with pytest.raises(InputError, match=r"data\.phases: a search has one input size"):
        runs.search(run)
    assert not (tmp_path / "run").exists()


def test_the_recipes_phases_fit_its_epochs():
    recipe = read_config(REPOSITORY / "configs/recipes/two_cores.yaml")
    table = read_config(REPOSITORY / "configs/ablation/resizing.yaml")
    check_phases(compose(TrainRun, recipe))
    for row in table["ablation"]["rows"].values():
        check_phases(compose(TrainRun, table, row))
