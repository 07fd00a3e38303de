"""A batch on an accelerator costs the same operations at any size, and nothing is read back."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.dispatched import META, Dispatched
from helpers.small_run import CPU, RECIPE, make_engine
from torch import nn

from reid_dcs import build_model
from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.manager import TrainLoader
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore
from reid_dcs.engine import build_optimizer, build_schedule
from reid_dcs.engine.progress import Progress
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.models.registry import KINDS, attention_factory
from reid_dcs.runtime.precision import Precision
from reid_dcs.search import build_supergraph
from reid_dcs.search.engine import SearchEngine

IDENTITIES, HEIGHT, WIDTH = 64, 64, 32
AUGMENTATION = Augmentation(0.5, 2, 0.5, brightness=0.2, contrast=0.15)
ADAM = OptimizerConfig("adam", 1e-3)


@pytest.fixture(autouse=True)
def fused_on_meta(monkeypatch):
    """Let optimizers be fused on ``meta``, as on a GPU; PyTorch has the operations."""
    optim = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optim, "_get_fused_kernels_supported_devices", lambda: ["cpu", "meta"])


def make_manager(batch_size, mixup=0.0, store_device=META):
    images = 4 * IDENTITIES * 2
    pids = torch.arange(IDENTITIES).repeat_interleave(images // IDENTITIES)
    pixels = torch.zeros(images, HEIGHT, WIDTH, 3, dtype=torch.uint8, device=store_device)
    names = tuple(f"{i}.jpg" for i in range(images))
    store = ImageStore(pixels, pids, pids, torch.zeros_like(pids), names)
    loader = TrainLoader(store, IdentitySampler(pids, batch_size, 4), AUGMENTATION, META, mixup)
    return SimpleNamespace(use_gpu=False, train_loader=loader, test_loader={})


def make_trainer(model, manager, **options):
    optimizer = build_optimizer(model.parameters(), ADAM)
    return ReIDEngine(
        manager,
        model,
        optimizer,
        build_schedule(optimizer, ADAM, 2, 100),
        IdentityTripletLoss(),
        precision=Precision("float32", META),
        ema=0.9,
        clip_norm=1.0,
        **options,
    )


def make_search(model, manager, **search):
    return SearchEngine(
        manager,
        model,
        IdentityTripletLoss(),
        SearchConfig(window_share=0.5, weight_optimizer=ADAM, window_optimizer=ADAM, **search),
        precision=Precision("float32", META),
    )


def operations(engine, batch=0):
    """Operations of a training batch: input, losses, gradients, step, averages, progress."""
    loader = engine.train_loader
    loader.set_epoch(0)
    engine.model.train()
    engine.policy.begin_epoch(0)
    progress = Progress(0, 1, len(loader))
    batches = iter(loader)
    for _ in range(2):  # the first one creates the optimizer's state, and the epoch's order
        engine.batch_idx = batch
        with Dispatched() as dispatched:
            engine.policy.begin_batch(0, batch)
            data = next(batches)
            progress.add(engine.forward_backward(data), data)
    assert all(losses.device == META for losses, _, _ in progress.unread)
    assert not dispatched.waiting
    return dispatched.counts


class Network(nn.Module):
    """Of torchreid's contract, with one attention block."""

    def __init__(self, kind):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 4, padding=1), nn.BatchNorm2d(16))
        self.attention = attention_factory(kind)(16)
        self.classifier = nn.Linear(16, IDENTITIES)

    def forward(self, images):
        pooled = self.attention(self.stem(images)).mean((2, 3))
        return (self.classifier(pooled), pooled) if self.training else pooled


def network(kind="dcs"):
    return Network(kind).to(META)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_batch_costs_the_same_operations_at_any_size(kind):
    counts = [operations(make_trainer(network(kind), make_manager(n))) for n in (16, 256)]
    assert counts[0] == counts[1]
    assert counts[0]["aten._fused_adam_.default"] == 1
    assert "aten.nonzero.default" not in counts[0]


@pytest.mark.parametrize("options", [{"mixup": 0.3}, {"store_device": CPU}])
def test_so_does_a_mixed_batch_and_one_from_a_store_in_memory(options):
    counts = [operations(make_trainer(network(), make_manager(n, **options))) for n in (16, 256)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("search", [{}, {"target_share": 0.5}, {"window_softness": 0.1}])
@pytest.mark.parametrize("turn", ["weights", "windows"])
def test_so_does_a_batch_of_a_search_in_either_turn(turn, search):
    engines = [make_search(network(), make_manager(n), **search) for n in (16, 256)]
    first = [0 if turn == "weights" else engine.policy.weight_batches for engine in engines]
    counts = [operations(engine, batch) for engine, batch in zip(engines, first, strict=True)]
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_so_does_a_supergraph():
    counts = []
    for size in (16, 256):
        model = build_supergraph("fbnetv2_dcs", IDENTITIES).to(META)
        counts.append(operations(make_search(model, make_manager(size))))
    assert counts[0] == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_does_a_whole_network(kind):
    model = build_model(f"mobilenetv2_{kind}", IDENTITIES).to(META)
    counts = [operations(make_trainer(model, make_manager(n))) for n in (16, 256)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "read", [torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.nonzero, bool]
)
def test_these_tests_fail_where_a_value_is_read_back(read):
    with pytest.raises((NotImplementedError, RuntimeError)):
        read(torch.zeros(1, device=META) > 0)


def test_losses_are_read_back_once_in_ten_batches(monkeypatch):
    """And their means are those of reading each."""
    engines = {}
    for accelerator in (False, True):
        monkeypatch.setattr("reid_dcs.engine.trainer.is_accelerator", lambda _, a=accelerator: a)
        reads, read = [], Progress.read

        def counted(progress, reads=reads, read=read):
            reads.append(len(progress.unread))
            read(progress)

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "read", counted)
            engine = make_engine(replace(RECIPE, accumulate=1), batch_size=4)
            engine.max_epoch = 1
            engines[accelerator] = engine.train()
        assert reads == ([10, 2] if accelerator else [1] * 12)
    for name in ("total", "identity", "triplet", "accuracy"):
        assert engines[True][name] == engines[False][name]
