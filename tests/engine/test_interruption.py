"""A run that is killed at any moment and resumed ends as one never killed, bit for bit:
weights, history, and the best evaluation."""

import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers.small_run import make_engine, run_to_the_end

from reid_dcs.engine import CHECKPOINT, checkpoint, read_checkpoint, read_last_checkpoint, trainer
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.files import remove_leftovers
from reid_dcs.runtime.signals import Interrupted

BATCHES = 12  # three epochs of four


def kill_at(number):
    """A function that kills this process the n-th time it is called."""
    calls = iter(range(1, number))

    def count():
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def run_and_be_killed(folder: Path, moment: str, number: int) -> None:
    trainer.SAVE_SECONDS = -1  # a checkpoint after every step
    count = kill_at(number)
    if moment in ("link", "replace", "fsync"):
        original = getattr(os, moment)
        setattr(os, moment, lambda *names: (count(), original(*names))[1])
    elif moment == "write":
        written_whole = checkpoint.written_whole

        @contextmanager
        def torn(path):
            with written_whole(path) as file:
                yield TornFile(file, count)

        checkpoint.written_whole = torn
    else:
        original = getattr(ReIDEngine, moment)
        setattr(ReIDEngine, moment, lambda self, *given: (original(self, *given), count())[0])
    run_to_the_end(folder)


class TornFile:
    """Writes half of what it is given before it dies."""

    def __init__(self, file, count):
        self.file, self.count = file, count

    def write(self, content):
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        self.count()
        self.file.write(content[half:])


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_to_the_end(folder)
    return folder


def assert_ends_as(folder, never_killed):
    """Resume to the end, and compare weights, history and best, in every checkpoint."""
    weights, last = run_to_the_end(folder), read_checkpoint(folder / CHECKPOINT)
    assert last["epoch"] == last["evaluated"] == 3
    for key in ("state_dict", "raw_state_dict"):  # the average, and what is trained
        prefix = "average." if key == "state_dict" else ""
        for name, value in last[key].items():
            assert torch.equal(weights[prefix + name], value), name
    for name in (CHECKPOINT, "best.pt"):
        found, expected = (read_checkpoint(place / name) for place in (folder, never_killed))
        assert records(found) == records(expected)
        for key in ("state_dict", "raw_state_dict"):
            for parameter, value in expected[key].items():
                assert torch.equal(found[key][parameter], value), parameter
    assert not list(folder.glob(".*"))


def records(content):
    """Everything that a checkpoint records, but times."""
    timed = {"seconds", "images_s"}
    history = [{k: v for k, v in entry.items() if k not in timed} for entry in content["history"]]
    return history, content["best"], content["epoch"], content["evaluated"]


@pytest.mark.parametrize(
    "moment, number",
    [
        ("forward_backward", 1),
        ("forward_backward", 4),
        ("forward_backward", 7),
        ("forward_backward", BATCHES),
        ("validate", 1),
        ("validate", 2),
        ("evaluate", 1),
        ("evaluate", 3),
        ("write", 1),
        ("write", 5),
        ("fsync", 3),
        ("replace", 3),
        ("replace", 4),
        ("replace", 8),
        ("link", 4),
    ],
)
def test_a_killed_run_is_resumed(processes, never_killed, tmp_path, moment, number):
    process = processes.Process(target=run_and_be_killed, args=(tmp_path, moment, number))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert_ends_as(tmp_path, never_killed)


def test_killed_again_and_again(processes, never_killed, tmp_path):
    for number in (3, 2, 4):
        process = processes.Process(target=run_and_be_killed, args=(tmp_path, "write", number))
        process.start()
        process.join(60)
    assert 0 < read_last_checkpoint(tmp_path)["epoch"] < 3
    assert_ends_as(tmp_path, never_killed)


@pytest.mark.parametrize("moment, number", [("replace", 1), ("replace", 2), ("link", 1)])
def test_a_damaged_checkpoint_and_a_kill_leave_the_one_before(
    processes, never_killed, tmp_path, moment, number
):
    run_to_the_end(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()  # another name of best.pt
    (tmp_path / "checkpoint.pt").write_bytes(b"torn")
    process = processes.Process(target=run_and_be_killed, args=(tmp_path, moment, number))
    process.start()
    process.join(60)
    assert read_last_checkpoint(tmp_path)["epoch"] >= 2
    remove_leftovers(tmp_path)  # as the next run does
    assert_ends_as(tmp_path, never_killed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("batch", [1, 4, 6, BATCHES])
def test_a_signal_waits_for_the_step_saves_and_leaves(never_killed, tmp_path, number, batch):
    engine = make_engine()
    forward_backward, calls = engine.forward_backward, iter(range(1, BATCHES + 1))

    def interrupted(data):
        if next(calls) == batch:
            os.kill(os.getpid(), number)
        return forward_backward(data)

    engine.forward_backward = interrupted
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stop:
        engine.run(tmp_path, 3, eval_freq=1)
    assert stop.value.number == number and signal.getsignal(number) == before
    assert f"resume=auto continues from {tmp_path / CHECKPOINT}" in str(stop.value)
    content = read_last_checkpoint(tmp_path)
    steps = -(-batch // 2) * 2  # a step takes two batches
    assert (content["epoch"], content["batch"]) == divmod(steps, 4)
    assert_ends_as(tmp_path, never_killed)


def test_the_second_signal_does_not_wait(tmp_path):
    engine = make_engine()

    def interrupted(data):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    engine.forward_backward = interrupted
    with pytest.raises(Interrupted, match="nothing was saved yet"):
        engine.run(tmp_path, 3)


def test_a_signal_during_an_evaluation_does_not_wait(never_killed, tmp_path):
    engine = make_engine()
    engine.test = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        engine.run(tmp_path, 3, eval_freq=1)
    assert read_last_checkpoint(tmp_path)["epoch"] == 1
    assert_ends_as(tmp_path, never_killed)


def test_a_signal_during_the_last_checkpoint_stops_the_job(never_killed, tmp_path):
    """A training may follow, as after a search."""
    engine = make_engine()
    save = engine.save

    def interrupted(evaluated=False):
        if engine.finished == 3 and evaluated:
            os.kill(os.getpid(), signal.SIGTERM)
        save(evaluated)

    engine.save = interrupted
    with pytest.raises(Interrupted, match="resume=auto continues from"):
        engine.run(tmp_path, 3, eval_freq=1)
    assert_ends_as(tmp_path, never_killed)


def test_an_interrupted_trainer_goes_on_when_it_is_run_again(never_killed, tmp_path):
    engine = make_engine()
    test = engine.test
    engine.test = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        engine.run(tmp_path, 3, eval_freq=1)
    engine.test = test
    engine.run(tmp_path, 3, eval_freq=1)
    assert_ends_as(tmp_path, never_killed)


def test_a_resumed_run_stopped_before_its_first_step_names_what_there_is(tmp_path):
    def stopped(folder, content=None):
        engine = make_engine()
        if content:
            engine.load_state_dict(content)
        engine.test = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as stop:
            engine.run(folder, 3, eval_freq=1)
        return str(stop.value)

    said = stopped(tmp_path)
    assert said.endswith(f"{CHECKPOINT}, epoch 2, batch 1")
    content = read_last_checkpoint(tmp_path)
    assert stopped(tmp_path, content) == said
    assert "nothing was saved yet" in stopped(tmp_path / "another", content)


def test_a_run_outside_the_main_thread_trains_too(never_killed, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(run_to_the_end(tmp_path)))
    thread.start()
    thread.join()
    assert found
    assert_ends_as(tmp_path, never_killed)
