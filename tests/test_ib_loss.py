"""The information bottleneck term: compared with loops, over epochs, processes and resumed runs."""

import math

import pytest
import torch
from helpers.small_run import make_engine
from torch import Tensor

from reid_dcs import InputError
from reid_dcs.config import TrainRun, compose
from reid_dcs.losses import IdentityTripletLoss, InformationBottleneckLoss
from reid_dcs.runs.engine import build_criterion
from reid_dcs.runtime import distributed

CLASSES, DIM, BETA, WEIGHT = 4, 6, 3.0, 0.7
PIDS = [torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 2, 2]), torch.tensor([0, 0, 2, 2])]


def epoch_of(seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of an epoch in which class 3 never occurs."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return [(draw(4, CLASSES), draw(4, DIM), pids) for pids in PIDS]


def make_loss() -> InformationBottleneckLoss:
    return InformationBottleneckLoss(IdentityTripletLoss(), WEIGHT, BETA)


def naive_phi(feature: Tensor, centers: list[Tensor]) -> list[Tensor]:
    unit = feature / feature.square().sum().sqrt()
    powers = [torch.exp(-BETA * (unit - c).square().sum()) for c in centers]
    return [power / sum(powers) for power in powers]


def naive_centers(epoch) -> list[Tensor]:
    held = [[] for _ in range(CLASSES)]
    for _, features, pids in epoch:
        for feature, pid in zip(features, pids.tolist(), strict=True):
            held[pid].append(feature / feature.square().sum().sqrt())
    return [sum(h) / len(h) if h else torch.zeros(DIM, dtype=torch.float64) for h in held]


def naive_q(epoch, centers: list[Tensor]) -> list[list[float]]:
    held = [[] for _ in range(CLASSES)]
    for _, features, pids in epoch:
        for feature, pid in zip(features, pids.tolist(), strict=True):
            held[pid].append(naive_phi(feature, centers))
    mean = [[(sum(column) / len(h)).item() for column in zip(*h, strict=True)] for h in held]
    return [row or [1 / CLASSES] * CLASSES for row in mean]


def test_the_term_is_the_formula_with_the_means_of_the_epoch_before():
    loss = make_loss()
    epochs = [epoch_of(seed) for seed in range(4)]
    for number, epoch in enumerate(epochs):
        loss.begin_epoch()
        if number >= 2:
            centers = naive_centers(epochs[number - 1])
            q = naive_q(epochs[number - 1], naive_centers(epochs[number - 2]))
        for logits, features, pids in epoch:
            features.requires_grad_()
            plain = loss.criterion(logits, features, pids)
            found = loss(logits, features, pids)
            assert (found.identity, found.triplet) == (plain.identity, plain.triplet)
            torch.testing.assert_close(found.total, plain.total + WEIGHT * found.ib)
            if number < 2:
                assert found.ib == 0
                continue
            terms = [
                -sum(p * math.log(q[pid][a]) for a, p in enumerate(naive_phi(feature, centers)))
                for feature, pid in zip(features, pids.tolist(), strict=True)
            ]
            expected = sum(terms) / len(terms)
            torch.testing.assert_close(found.ib, expected)
            ours, theirs = (torch.autograd.grad(x, features)[0] for x in (found.ib, expected))
            torch.testing.assert_close(ours, theirs)


def test_the_first_term_of_the_bound_does_not_depend_on_the_features():
    """sum_a sum_b phi(F, a) phi(X, b) log phi(X, b), of any features of the same images."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(5, CLASSES, generator=random).softmax(1)
    entropy = (image * image.log()).sum(1)
    for _ in range(3):
        features = torch.randn(5, CLASSES, generator=random).softmax(1)
        first = (features[:, :, None] * (image * image.log())[:, None, :]).sum((1, 2))
        torch.testing.assert_close(first, entropy)


def test_a_resumed_epoch_goes_on_with_its_sums():
    whole, broken = make_loss(), make_loss()
    for loss in (whole, broken):
        for seed in range(2):
            loss.begin_epoch()
            for batch in epoch_of(seed):
                loss(*batch)
    resumed = make_loss()
    for loss in (whole, broken):
        loss.begin_epoch()
        loss(*epoch_of(2)[0])
    resumed.load_state_dict(broken.state_dict())
    for loss in (whole, resumed):
        for batch in epoch_of(2)[1:]:
            loss(*batch)
        loss.begin_epoch()
    first, second = (loss(*epoch_of(3)[0]) for loss in (whole, resumed))
    assert torch.equal(first.total, second.total) and first.ib > 0


def test_processes_share_their_sums(monkeypatch):
    """Two losses, each with half of the batches, against one with all."""
    whole, parts = make_loss(), [make_loss(), make_loss()]

    def begin_epoch() -> None:
        whole.begin_epoch()
        first, second = (part.sums for part in parts)
        totals = [first[name] + second[name] for name in first]
        for part in parts:
            left = iter(totals)
            with monkeypatch.context() as patch:
                patch.setattr(distributed, "summed", lambda _, left=left: next(left))
                part.begin_epoch()

    for seed in range(4):
        begin_epoch()
        for number, batch in enumerate(epoch_of(seed) + epoch_of(seed + 10)):
            expected, found = whole(*batch), parts[number % 2](*batch)
            torch.testing.assert_close(found.total, expected.total)


def test_an_engine_tells_the_criterion_of_epochs_and_keeps_its_state(tmp_path):
    engine = make_engine()
    engine.criterion = InformationBottleneckLoss(engine.criterion, 0.1)
    engine.train_loader.mixup = 0.0
    engine.run(tmp_path, 3)
    assert [entry["ib"] > 0 for entry in engine.history] == [False, False, True]
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    again = make_engine()
    again.criterion = InformationBottleneckLoss(again.criterion, 0.1)
    again.load_state_dict(content)
    assert again.criterion.epoch == 3
    for name, value in engine.criterion.means.items():
        assert torch.equal(again.criterion.means[name], value)


def test_the_setting_builds_it_and_mixup_is_refused():
    assert isinstance(build_criterion(compose(TrainRun, {})), IdentityTripletLoss)
    loss = build_criterion(compose(TrainRun, {"train": {"ib_weight": 0.5, "margin": 0.2}}))
    assert loss.weight == 0.5 and loss.criterion.margin == 0.2
    mixed = {"train": {"ib_weight": 0.5}, "data": {"mixup": 0.2}}
    with pytest.raises(InputError, match="train.ib_weight: .*; set data.mixup=0"):
        build_criterion(compose(TrainRun, mixed))
