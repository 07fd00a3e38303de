"""A run that goes on elsewhere, or from another place: nothing is lost, nothing is asked for."""

import pytest
import torch
from torchvision.models import mobilenet_v2

from reid_dcs import InputError, runs
from reid_dcs.engine import Trainer, read_checkpoint
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.search.engine import SearchEngine


class Stopped(Exception):
    pass


def stop(*_):
    raise Stopped


@pytest.fixture
def job(settings, small_network):
    train = {"epochs": 1, "schedule": "step", "warmup_epochs": 0}
    return training(settings) | {"model": {"name": small_network}, "train": train}


def training(settings):
    return {group: values for group, values in settings.items() if group != "search"}


def stop_at(monkeypatch, kind):
    """No epoch of a search, or of a training."""
    monkeypatch.setattr(kind, "train", stop)
    if kind is ReIDEngine:
        monkeypatch.setattr(SearchEngine, "train", Trainer.train)


def listing(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_a_checkpoint_of_an_earlier_run_moves_the_later_one_aside(job, tmp_path):
    for seed in (1, 2):
        runs.train(job | {"seed": seed, "output_dir": str(tmp_path), "resume": "none"})
    earlier = str(tmp_path / "earlier-1/checkpoint.pt")
    runs.train(job | {"seed": 1, "output_dir": str(tmp_path), "resume": earlier})
    for folder, seed in ((tmp_path, 1), (tmp_path / "earlier-1", 1), (tmp_path / "earlier-2", 2)):
        for name in ("checkpoint.pt", "best.pt"):
            assert read_checkpoint(folder / name)["config"]["seed"] == seed


@pytest.mark.parametrize("is_there", [True, False])
def test_the_best_checkpoint_comes_along(job, tmp_path, is_there):
    """Without its file, the best one is that of a later epoch, which has one."""
    first, second = tmp_path / "first", tmp_path / "second"
    runs.train(job | {"train": job["train"] | {"epochs": 2}, "output_dir": str(first)})
    content = torch.load(first / "checkpoint.pt", weights_only=True)
    content["best"] |= {"epoch": 1, "mAP": 2.0}
    (first / "best.pt").unlink()  # another name of the last one
    torch.save(content, first / "checkpoint.pt")
    if is_there:
        torch.save(content | {"epoch": 1}, first / "best.pt")
    more = {"train": job["train"] | {"epochs": 3}, "output_dir": str(second)}
    runs.train(job | more | {"resume": str(first / "checkpoint.pt")})
    found = read_checkpoint(second / "checkpoint.pt")["best"]
    assert found["epoch"] == read_checkpoint(second / "best.pt")["epoch"] == (1 if is_there else 3)


def test_a_resumed_run_needs_no_imagenet_weights(settings, tmp_path, monkeypatch):
    """Nor their folder, where they are given again: a run may move to another machine."""
    file = tmp_path / "imagenet.pth"
    torch.save(mobilenet_v2().state_dict(), file)
    model = {"name": "mobilenetv2_base", "pretrained": str(file)}
    train = {"epochs": 2, "schedule": "step"}
    job = training(settings) | {"model": model, "train": train}
    job |= {"output_dir": str(tmp_path / "run")}
    runs.train(job | {"train": train | {"epochs": 1}})
    file.unlink()
    moved = model | {"pretrained": str(tmp_path / "elsewhere/imagenet.pth")}
    runs.train(job | {"model": moved})
    assert read_checkpoint(tmp_path / "run/checkpoint.pt")["epoch"] == 2
    with pytest.raises(InputError, match="belongs to another run: model.pretrained"):
        runs.train(job | {"model": model | {"pretrained": str(tmp_path / "others.pth")}})


def test_a_search_that_is_finished_elsewhere_is_not_repeated(settings, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    stop_at(monkeypatch, ReIDEngine)
    with pytest.raises(Stopped):
        runs.search(settings | {"output_dir": str(first)})
    job = settings | {"output_dir": str(second)}
    with pytest.raises(Stopped):
        runs.search(job | {"resume": str(first / "search/checkpoint.pt")})
    monkeypatch.undo()
    stop_at(monkeypatch, SearchEngine)
    runs.search(job)
    assert read_checkpoint(second / "checkpoint.pt")["epoch"] == 2


def test_a_finished_search_warns_of_no_warm_up(settings, tmp_path, monkeypatch, capsys):
    """The training after it begins anew, with a warm-up of its own."""
    train = settings["train"] | {"schedule": "step", "warmup_epochs": 2}
    job = settings | {"output_dir": str(tmp_path), "search": {"epochs": 1, "calibration": 8}}
    stop_at(monkeypatch, ReIDEngine)
    for epochs in (2, 4):
        with pytest.raises(Stopped):
            runs.search(job | {"train": train | {"epochs": epochs}})
    assert "warm-up" not in capsys.readouterr().err


def spoiled(folder):
    content = torch.load(folder / "search/checkpoint.pt", weights_only=True)
    path = folder.parent / "spoiled.pt"
    torch.save(content | {"epoch": 0, "optimizer": {"windows": {}}}, path)
    return {"resume": str(path)}


def with_a_picture(folder):
    (folder / "search").rename(folder / "before")
    (folder / "search").mkdir()
    (folder / "search/curves.png").write_text("mine")
    return {"resume": "none"}


def with_a_file(folder):
    (folder / "search").rename(folder / "before")
    (folder / "search").write_text("mine")
    return {"resume": "none"}


@pytest.mark.parametrize("spoil", [spoiled, with_a_picture, with_a_file])
def test_a_search_that_is_refused_moves_nothing(settings, tmp_path, spoil):
    output = tmp_path / "run"
    job = settings | {"output_dir": str(output), "train": {"epochs": 1}}
    job |= {"search": {"epochs": 1, "calibration": 8}}
    runs.search(job)
    change = spoil(output)
    before = listing(output)
    with pytest.raises(InputError):
        runs.search(job | change)
    assert listing(output) == before


def test_missing_weights_of_the_training_are_missed_before_the_rest_of_the_search(
    settings, tmp_path, monkeypatch
):
    """Those of dcs_sw are built anew after the search, from the file."""
    weights = {"output_dir": str(tmp_path / "weights"), "train": {"epochs": 1}}
    runs.train(training(settings) | weights)
    file = tmp_path / "weights/checkpoint.pt"
    train = {"epochs": 1, "init": str(file)}
    job = settings | {"train": train, "output_dir": str(tmp_path / "run")}
    train_epoch = SearchEngine.train
    monkeypatch.setattr(
        SearchEngine, "train", lambda self: stop() if self.epoch else train_epoch(self)
    )
    with pytest.raises(Stopped):
        runs.search(job)
    file.unlink()
    with pytest.raises(InputError, match="no weights at"):
        runs.search(job)
