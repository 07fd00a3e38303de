"""The files of a run: last, previous, best; what is damaged, of another run, or has no room."""

import os
import resource
import signal

import pytest
import torch
from helpers.small_run import RECIPE, make_engine, run_to_the_end

from reid_dcs import InputError
from reid_dcs.config import SearchRun, TrainRun, compose, to_layer
from reid_dcs.engine import check_same_run, read_checkpoint, read_last_checkpoint
from reid_dcs.engine.checkpoint import BEST, CHECKPOINT, PREVIOUS, save_checkpoint
from reid_dcs.jobs.resume import check_resumable

STATE = {"w": torch.arange(4.0)}


@pytest.fixture
def folder(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, {"state_dict": STATE, "epoch": epoch}, is_best=epoch == 1)
    return tmp_path


def test_the_last_the_one_before_and_the_best_are_kept(folder):
    epochs = {
        name: read_checkpoint(folder / name)["epoch"] for name in (CHECKPOINT, PREVIOUS, BEST)
    }
    assert epochs == {CHECKPOINT: 3, PREVIOUS: 2, BEST: 1}
    assert len(list(folder.iterdir())) == 3


def test_without_links_they_are_copies(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2):
        save_checkpoint(tmp_path, {"state_dict": STATE, "epoch": epoch}, is_best=True)
    assert read_checkpoint(tmp_path / PREVIOUS)["epoch"] == 1
    assert read_checkpoint(tmp_path / BEST)["epoch"] == 2


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "flipped":
        content[content.index(STATE["w"].numpy().tobytes()) + 5] ^= 1
    path.unlink()  # links to it stay whole
    path.write_bytes(b"" if how == "empty" else content)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before_and_says_so(folder, how, capsys):
    damage(folder / CHECKPOINT, how)
    assert read_last_checkpoint(folder)["epoch"] == 2
    said = capsys.readouterr().err
    assert "damaged" in said and CHECKPOINT in said and PREVIOUS in said
    damage(folder / PREVIOUS, how)
    with pytest.raises(InputError, match="previous.pt is not a file of weights, or it is damaged"):
        read_last_checkpoint(folder)


def test_a_folder_without_any_has_none(tmp_path):
    assert read_last_checkpoint(tmp_path) is None


def test_weights_alone_cannot_be_resumed(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="weights.pt cannot be resumed"):
        read_checkpoint(tmp_path / "weights.pt")


def check(then, now, processes=1):
    content = {"config": to_layer(compose(TrainRun, then)), "rng": [{}]}
    check_same_run(content, to_layer(compose(TrainRun, now)), processes, "run")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"train": {"learning_rate": 0.5}}, "train.learning_rate is 0.002 there, 0.5 here"),
        ({"model": {"name": "osnet_x1_0_dcs"}}, "model.name is 'mobilenetv2_dcs' there"),
        ({"model": {"options": {"windows": 1}}}, "model.options.windows is None there, 1 here"),
        ({"data": {"height": 128}}, "data.height is 64 there, 128 here"),
        ({"train": {"epochs": 20}}, "train.epochs is 18 there, 20 here"),
        ({"seed": 2}, "seed is 1 there, 2 here"),
    ],
)
def test_another_runs_checkpoint_is_refused_by_the_difference(change, said):
    with pytest.raises(InputError) as caught:
        check({}, change)
    assert said in str(caught.value)


@pytest.mark.parametrize("ema, same", [(0.0, True), (0.9, False)])
def test_a_setting_newer_than_the_checkpoint_had_its_default(ema, same):
    content = {"config": to_layer(compose(TrainRun)), "rng": [{}]}
    del content["config"]["train"]["ema"]
    config = to_layer(compose(TrainRun, {"train": {"ema": ema}}))
    if same:
        return check_same_run(content, config, 1, "run")
    with pytest.raises(InputError, match="train.ema is 0.0 there, 0.9 here"):
        check_same_run(content, config, 1, "run")


def test_other_processes_are_another_run():
    with pytest.raises(InputError, match="processes is 1 there, 2 here"):
        check({}, {}, processes=2)


def test_a_training_does_not_continue_a_search():
    def check_search(epochs):
        searched = to_layer(compose(SearchRun, {"search": {"epochs": epochs}}))
        content = {"config": searched, "rng": [{}]}
        check_same_run(content, to_layer(compose(TrainRun)), 1, "run")

    with pytest.raises(InputError, match="belongs to another run: a search, or the training after"):
        check_search(10)
    check_search(0)  # was a training


def test_where_and_how_a_run_runs_may_change():
    check({}, {"device": "cpu", "data": {"root": "elsewhere"}, "eval": {"batch_size": 7}})
    check({}, {"output_dir": "moved", "resume": "auto", "train": {"compile": True}})
    steps = {"schedule": "step", "milestones": [2]}
    check({"train": steps}, {"train": steps | {"epochs": 40}})


def on_a_full_disk(action, folder, answer):
    """In a process of its own, where no file may grow past 4 kB, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        action(folder)
        answer.send("went on")
    except InputError as error:
        answer.send(str(error))


@pytest.fixture
def said_on_a_full_disk(processes):
    def run(action, folder):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=on_a_full_disk, args=(action, folder, theirs))
        process.start()
        assert ours.poll(60)
        process.join(60)
        return ours.recv()

    return run


def save_small_then_large(folder):
    save_checkpoint(folder, {"state_dict": STATE, "epoch": 1})
    save_checkpoint(folder, {"state_dict": {"w": torch.zeros(10_000)}, "epoch": 2})


def test_a_changed_default_of_the_windows_is_another_run():
    """Files from before the reading was written hold ``mask`` windows within a ``sigmoid``."""
    config, model = compose(TrainRun), {"name": "mobilenetv2_dcs", "options": {}}
    before = {"config": to_layer(config), "rng": [None], "model": model}
    with pytest.raises(InputError, match="model.options.mode is 'mask' there, 'bilinear' here"):
        check_resumable(before, config, "run")
    same = {"model": {"options": {"mode": "mask", "bounds": "sigmoid"}}}
    check_resumable(before, compose(TrainRun, same), "run")
    written = {"mode": "bilinear", "bounds": "clamp"}
    check_resumable(before | {"model": model | {"options": written}}, config, "run")


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_there(tmp_path, said_on_a_full_disk):
    said = said_on_a_full_disk(save_small_then_large, tmp_path)
    assert said.startswith("cannot write") and said.endswith("checkpoint.pt: File too large")
    assert read_last_checkpoint(tmp_path)["epoch"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT}


def save_large(folder):
    save_checkpoint(folder, {"state_dict": {"w": torch.zeros(10_000)}, "epoch": 4})


@pytest.mark.slow
def test_a_full_disk_keeps_the_one_before_a_damaged_one(folder, said_on_a_full_disk):
    damage(folder / CHECKPOINT, "cut")
    assert said_on_a_full_disk(save_large, folder).startswith("cannot write")
    assert read_last_checkpoint(folder)["epoch"] == 2


@pytest.mark.slow
def test_a_run_stops_when_the_disk_is_full(tmp_path, said_on_a_full_disk):
    assert said_on_a_full_disk(run_to_the_end, tmp_path).startswith("cannot write")
    assert not list(tmp_path.glob("*.pt")) and not list(tmp_path.glob(".*"))


def test_the_best_evaluation_is_kept(tmp_path):
    engine = make_engine()
    scores = iter([0.5, 0.9, 0.7])

    def evaluate():
        figures = {"mAP": next(scores), "rank1": 0.1}
        result = engine_test()
        return {"random": result["random"]._replace(mAP=figures["mAP"])}

    engine_test, engine.test = engine.test, evaluate
    engine.run(tmp_path, RECIPE.epochs, eval_freq=1)
    best = read_checkpoint(tmp_path / BEST)
    assert best["epoch"] == 2 and best["best"]["mAP"] == 0.9
