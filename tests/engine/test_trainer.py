"""The trainer on a task that is not Re-ID, and on a run that older code began."""

import ast
import os
import shutil
import signal

import pytest
import torch
from helpers import small_run, toy_regression
from helpers.paths import REPOSITORY
from helpers.toy_regression import EPOCHS, make_trainer

from reid_dcs import InputError
from reid_dcs.engine import Trainer, read_checkpoint, read_last_checkpoint, trainer
from reid_dcs.engine.checkpoint import BEST
from reid_dcs.engine.progress import batch_size, sample_names
from reid_dcs.runtime.precision import Precision
from reid_dcs.runtime.signals import Interrupted

BATCHES = 6  # of an epoch


def imported(module, seen, packages=True):
    """Modules of reid_dcs and top-level names of others that a module imports, itself or through
    others; with ``packages``, also through the ``__init__.py`` of their rooms."""
    path = REPOSITORY / module.replace(".", "/")
    file = path.with_suffix(".py")
    file = file if file.exists() else path / "__init__.py"
    if module in seen or not file.exists():
        return seen
    seen.add(module)
    parent = module.rpartition(".")[0]
    if packages and parent not in ("", "reid_dcs"):
        imported(parent, seen, packages)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith("reid_dcs."):
                imported(name, seen, packages)
            else:
                seen.add(name.partition(".")[0])
    return seen


@pytest.mark.parametrize(
    "module, packages, more",
    [
        ("reid_dcs.engine.trainer", True, set()),
        ("reid_dcs.search.alternation", False, {"attention", "search"}),
    ],
)
def test_it_imports_no_room_of_reid(module, packages, more):
    found = imported(module, set(), packages)
    rooms = {name.split(".")[1] for name in found if name.startswith("reid_dcs.")}
    assert "torch" in found and "torchreid" not in found
    assert rooms <= {"engine", "runtime", "weights", "config", "errors", "files"} | more
    assert "reid_dcs.engine.reid" not in found


def test_it_prints_and_records_the_losses_and_metrics_of_any_task(tmp_path, capsys):
    toy = make_trainer()
    metrics = toy.run(tmp_path, EPOCHS, eval_freq=1)
    printed = capsys.readouterr().out
    for epoch, entry in enumerate(toy.history, 1):
        line = f"epoch {epoch}/3  misfit {entry['misfit']:#.4g}  wiggle {entry['wiggle']:#.4g}"
        assert line in printed
        assert {"misfit", "wiggle", "closeness", "seconds", "images_s", "lr"} == set(entry)
    assert f"closeness {toy.history[0]['closeness']:#.4g}" in printed
    assert toy.history[-1]["misfit"] < toy.history[0]["misfit"]
    assert metrics == {"closeness": toy.history[-1]["closeness"]}
    content = read_last_checkpoint(tmp_path)
    assert content["history"] == toy.history
    assert read_checkpoint(tmp_path / BEST)["best"]["closeness"] == max(
        entry["closeness"] for entry in toy.history
    )


def test_an_epochs_losses_are_the_means_over_its_batches(monkeypatch):
    """Of an epoch on its own, too, which has no folder for its checkpoints."""
    monkeypatch.setattr(trainer, "SAVE_SECONDS", -1)
    toy = make_trainer()
    seen = []
    losses = toy.task_losses.losses
    toy.task_losses.losses = lambda batch: seen.append(losses(batch)) or seen[-1]
    entry = toy.train()
    assert len(seen) == BATCHES
    for name in ("misfit", "wiggle"):
        expected = sum(each[name].item() for each in seen) / BATCHES
        assert entry[name] == pytest.approx(expected)


def run_and_be_killed(folder, batch):
    """A checkpoint after every step; killed before a batch, counted from 1 over the run."""
    trainer.SAVE_SECONDS = -1
    calls, forward_backward = iter(range(1, batch)), Trainer.forward_backward

    def counted(self, data):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward_backward(self, data)

    Trainer.forward_backward = counted
    toy_regression.run_to_the_end(folder)


@pytest.mark.parametrize("batch, left", [(1, None), (6, (0, 4)), (9, (1, 2)), (18, (2, 4))])
def test_any_task_is_resumed_bit_for_bit_after_a_kill(processes, tmp_path, batch, left, capsys):
    whole = toy_regression.run_to_the_end(tmp_path / "whole")
    folder = tmp_path / "killed"
    process = processes.Process(target=run_and_be_killed, args=(folder, batch))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    content = read_last_checkpoint(folder)
    assert (content and (content["epoch"], content["batch"])) == left
    resumed = toy_regression.run_to_the_end(folder)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    first, again = (read_last_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    for one, other in zip(first["history"], again["history"], strict=True):
        for name in ("misfit", "wiggle", "closeness"):
            assert one[name] == other[name]


def test_a_run_that_the_code_before_the_trainer_began_is_finished(tmp_path):
    """``tests/engine/checkpoint_before_trainer.pt``: within the second of three epochs."""
    file = REPOSITORY / "tests/engine/checkpoint_before_trainer.pt"
    content = read_checkpoint(file)
    assert (content["epoch"], content["batch"]) == (1, 2)
    shutil.copy(file, tmp_path / "checkpoint.pt")
    full = {"precision": Precision("float32", small_run.CPU)}
    resumed = small_run.run_to_the_end(tmp_path, **full)
    (tmp_path / "whole").mkdir()
    whole = small_run.run_to_the_end(tmp_path / "whole", **full)
    for key, value in whole.items():  # another processor rounded the first half
        torch.testing.assert_close(resumed[key], value, rtol=1e-3, atol=1e-4)
    history = read_last_checkpoint(tmp_path)["history"]
    expected = read_last_checkpoint(tmp_path / "whole")["history"]
    assert len(history) == 3 and history[0]["seconds"] == content["history"][0]["seconds"]
    for one, other in zip(history, expected, strict=True):
        for name in ("total", "identity", "triplet", "mAP", "rank1"):
            assert one[name] == pytest.approx(other[name], rel=0.05)


def test_a_loss_that_is_no_number_names_the_samples_of_the_batch(tmp_path):
    toy = make_trainer()
    toy.task.samples.targets[7] = torch.nan
    with pytest.raises(InputError, match=r"not finite in epoch 1/3, batch \d/6.*sample 7\b"):
        toy.run(tmp_path, EPOCHS)


def test_sizes_and_names_of_batches_in_any_form():
    images, names = torch.zeros(3, 2), ["a", "b", "c"]
    assert batch_size(images) == batch_size((images, names)) == batch_size({"img": images}) == 3
    assert batch_size([[images] * 2, [{}, {}]]) == 2  # lists of images and of targets
    assert sample_names((images, names)) == sample_names({"img": images, "path": names}) == names
    assert sample_names(images) == ()


def test_a_loader_that_knows_no_epochs_gives_the_rest_of_an_interrupted_one(tmp_path):
    """Each batch once, and as many steps in all, so that the schedule ends where it should."""
    seen = []

    def make_and_run(stop_at=None):
        toy = make_trainer()
        toy.train_loader = list(toy.train_loader)
        if content := read_last_checkpoint(tmp_path):
            toy.load_state_dict(content)
        forward_backward = toy.forward_backward

        def noted(batch):
            seen.append((toy.epoch, batch[2]))
            if (toy.epoch, toy.batch_idx) == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return forward_backward(batch)

        toy.forward_backward = noted
        toy.run(tmp_path, EPOCHS)
        return toy

    with pytest.raises(Interrupted):
        make_and_run(stop_at=(1, 3))
    assert read_last_checkpoint(tmp_path)["batch"] == 4
    _, schedule = make_and_run().optimizers["all"]
    assert schedule.last_epoch == EPOCHS * BATCHES // 2
    names = [batch[2] for batch in make_trainer().train_loader]
    assert seen == [(epoch, name) for epoch in range(EPOCHS) for name in names]


def test_a_run_without_a_scaler_goes_on_with_one():
    """As on a device whose number type is float16, after one where it was another."""
    state = make_trainer().state_dict()
    assert state["scaler"] == {}
    toy = make_trainer()
    toy.precision.scaler = torch.amp.GradScaler("cpu", enabled=True)
    toy.load_state_dict(state)
    assert toy.precision.scaler.get_scale() > 1
