"""Distributed training and evaluation: two local processes over gloo."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import small_run
from helpers.small_run import CPU, RECIPE, make_engine, make_store, run_to_the_end

from reid_dcs import InputError
from reid_dcs.config import TrainConfig
from reid_dcs.data.manager import TestLoader
from reid_dcs.engine import read_last_checkpoint
from reid_dcs.evaluation import extract_features
from reid_dcs.losses import InformationBottleneckLoss
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import synchronized
from reid_dcs.runtime.signals import Interrupted

TOOLS = Path(__file__).resolve().parents[2] / "tools"
STEPS = 8


def free_port():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def be_launched(rank, port):
    """Set what torchrun sets for one of two processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


def run_rank(rank, port, target, folder, arguments):
    """Entry point of one process: join the group and save what ``target`` returns."""
    be_launched(rank, port)
    torch.set_num_threads(1)
    with distributed.process_group(CPU):
        torch.save(target(folder, *arguments), folder / f"rank{rank}.pt")


def join_again(rank, port, folder):
    """Three groups, one after the other, as the rows of a table have them."""
    be_launched(rank, port)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # torchrun's store outlives a group
    sums = []
    for number in range(3):
        with distributed.process_group(CPU):
            sums.append(distributed.summed(torch.tensor(rank + number)).item())
    torch.save(sums, folder / f"rank{rank}.pt")


def test_one_group_follows_another(processes, tmp_path):
    store = torch.distributed.TCPStore("localhost", 0, is_master=True)
    ranks = [
        processes.Process(target=join_again, args=(rank, store.port, tmp_path)) for rank in (0, 1)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(30)
    assert [process.exitcode for process in ranks] == [0, 0]
    for rank in (0, 1):
        assert torch.load(tmp_path / f"rank{rank}.pt") == [1, 3, 5]


def test_a_variable_alone_starts_no_group(monkeypatch):
    monkeypatch.setenv("RANK", "0")  # as some schedulers set it
    with distributed.process_group(CPU) as device:
        assert device == CPU and distributed.world_size() == 1


@pytest.fixture(scope="module")
def on_two_ranks(processes, tmp_path_factory):
    """Run ``target(folder, *arguments)`` on two ranks; return both results."""

    def run(target, *arguments, folder=None):
        folder = folder or tmp_path_factory.mktemp("two_ranks")
        port = free_port()
        ranks = [
            processes.Process(target=run_rank, args=(rank, port, target, folder, arguments))
            for rank in (0, 1)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(60)
        codes = [process.exitcode for process in ranks]
        assert codes == [0, 0], codes
        return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]

    return run


def ib_means(folder):
    """Centers and class means of the information bottleneck term after three epochs."""
    engine = make_engine()
    engine.criterion = InformationBottleneckLoss(engine.criterion, 0.1)
    engine.train_loader.mixup = 0.0
    engine.run(folder, 3)
    counts = engine.criterion.sums["counts"].sum().item()
    total = engine.criterion.get_extra_state()["sums"]["counts"].sum().item()
    return engine.criterion.means, counts, total


def test_processes_share_the_centers_of_the_information_bottleneck(on_two_ranks):
    (first, images, total), (second, others, same) = on_two_ranks(ib_means)
    assert first["centers"].abs().sum() > 0 and total == same == images + others
    for name, value in first.items():
        assert torch.equal(value, second[name])


def trajectory(folder, halves=False, frozen_statistics=False):
    """Losses of steps on one fixed batch: the whole batch on each rank, or half of it."""
    constant = {"warmup_epochs": 0, "schedule": "step"}
    engine = make_engine(TrainConfig(epochs=1, optimizer="sgd", learning_rate=0.05, **constant))
    engine.model.drop.p = 0.0
    if halves:  # triplet mining is limited to the images of one process
        engine.criterion.triplet_weight = 0.0
    store = make_store()
    index = torch.arange(0, len(store), 4)
    if halves:
        index = index[distributed.rank_slice()]
    batch = {"img": store.images[index].permute(0, 3, 1, 2) / 255.0, "pid": store.pids[index]}
    engine.model.train()
    engine.task_losses = distributed.parallel(engine.task_losses)
    if frozen_statistics:
        for norm in (engine.model.trunk[1], engine.model.neck):
            norm.eval()
    losses = []
    for _ in range(STEPS):
        total = engine.forward_backward(batch)["total"]
        losses.append(float(distributed.summed(total)) / distributed.world_size())
    return losses


def test_two_ranks_on_the_same_batch_follow_a_single_process(on_two_ranks):
    expected = trajectory(None)
    assert expected[-1] < expected[0] - 0.1
    for losses in on_two_ranks(trajectory):
        assert losses == pytest.approx(expected, abs=1e-5)


def test_two_halves_of_a_batch_follow_the_whole_batch(on_two_ranks):
    with_triplet = trajectory(None, False, True)
    without_triplet = trajectory(None, True, True)
    assert with_triplet != pytest.approx(without_triplet, abs=1e-5)
    for losses in on_two_ranks(trajectory, True, True):
        assert losses == pytest.approx(without_triplet, abs=1e-5)


def shard(folder):
    engine = make_engine()
    return [name for batch in engine.train_loader for name in batch["impath"]]


def test_shards_share_no_image(on_two_ranks):
    first, second = on_two_ranks(shard)
    assert len(first) == len(second) == 24 and not set(first) & set(second)


def features(folder):
    torch.manual_seed(0)
    store = make_store()
    count, ranks = len(store), distributed.world_size()
    rows = slice(*(count * i // ranks for i in (distributed.rank(), distributed.rank() + 1)))
    loader = TestLoader(store.part(rows), 5, CPU, sharded=ranks > 1)
    found = extract_features(small_run.Network(), loader)
    return found.vectors, torch.tensor(found.pids), torch.tensor(found.camids)


def test_sharded_evaluation_gathers_all_features_in_order(on_two_ranks):
    expected = features(None)
    for gathered in on_two_ranks(features):
        for ours, theirs in zip(gathered, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def train(folder, signalled=None, recipe=RECIPE):
    """Train; ``signalled`` (batch, signal) sends a signal to rank 1 in the second epoch."""
    batch, number = signalled or (None, None)
    make = small_run.make_engine

    def make_interrupted(*given, **options):
        engine = make(*given, **options)
        forward_backward = engine.forward_backward

        def interrupted(data):
            if distributed.rank() == 1 and engine.epoch == 1 and engine.batch_idx == batch:
                os.kill(os.getpid(), number)
            return forward_backward(data)

        engine.forward_backward = interrupted
        return engine

    small_run.make_engine = make_interrupted
    try:
        return run_to_the_end(folder, recipe)
    except Interrupted as stop:
        return stop.number


def test_ranks_end_with_the_same_weights_and_only_rank_0_writes(on_two_ranks, tmp_path):
    first, second = on_two_ranks(train, folder=tmp_path)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(list(tmp_path.glob("events.*"))) == 1
    content = read_last_checkpoint(tmp_path)
    assert len(content["rng"]) == 2
    assert not torch.equal(content["rng"][0]["torch"], content["rng"][1]["torch"])


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_and_loses_nothing(on_two_ranks, tmp_path):
    recipe = replace(RECIPE, accumulate=1)
    whole = on_two_ranks(train, None, recipe)
    signalled = (0, signal.SIGTERM)
    assert on_two_ranks(train, signalled, recipe, folder=tmp_path) == [signal.SIGTERM] * 2
    content = read_last_checkpoint(tmp_path)
    assert (content["epoch"], content["batch"]) == (1, 1)
    resumed = on_two_ranks(train, None, recipe, folder=tmp_path)
    for ours, theirs in zip(resumed, whole, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def frozen(folder):
    return train(folder, recipe=replace(RECIPE, frozen_epochs=1))


def test_a_backbone_is_frozen_and_unfrozen_on_every_rank(on_two_ranks):
    first, second = on_two_ranks(frozen)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_batch_norms_are_synchronized_on_accelerators_only():
    with pytest.raises(InputError, match="train.sync_bn=true"):
        synchronized(small_run.Network(), CPU)
    network = synchronized(small_run.Network(), torch.device("meta"))
    assert isinstance(network.trunk[1], torch.nn.SyncBatchNorm)


def torchrun(*arguments, folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_torchrun_trains_and_evaluates_as_the_readme_says(tiny_root, tmp_path):
    common = ("--root", tiny_root, "device=cpu")
    result = torchrun(
        TOOLS / "train_reid.py", *common, "--output-dir", "run", "train.epochs=1",
        "data.batch_size=8", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("written to run/") == 1
    assert (tmp_path / "run/metrics.json").exists()
    result = torchrun(
        TOOLS / "eval_reid.py", *common, "--weights", "run/checkpoint.pt", folder=tmp_path
    )
    assert result.returncode == 0 and result.stdout.count("mAP") == 1, result.stderr


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_job_with_its_error(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(small_run.__file__).parents[1])!r})\n"
        "from helpers import small_run\n"
        "from pathlib import Path\n"
        "from reid_dcs import InputError\n"
        "from reid_dcs.runtime import distributed\n"
        "from reid_dcs.cli.parsers import SettingsParser\n"
        "from reid_dcs.cli.process import command\n"
        "from reid_dcs.config import TrainRun\n"
        "def action(layer):\n"
        "    with distributed.process_group(small_run.CPU):\n"
        "        if distributed.rank() == 1:\n"
        "            raise InputError('the disk of this machine is full')\n"
        "        small_run.run_to_the_end(Path('run'))\n"
        "with command():\n"
        "    SettingsParser('fails', 'fails', TrainRun).run([], action)\n"
    )
    result = torchrun(script, folder=tmp_path)
    assert result.returncode != 0
    assert "error (rank 1): the disk of this machine is full" in result.stderr
