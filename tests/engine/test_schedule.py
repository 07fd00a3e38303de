"""The learning rate, step by step, against its formula."""

import math

import pytest
import torch
from torch import nn

from reid_dcs.config import TrainConfig
from reid_dcs.engine import build_optimizer, build_schedule
from reid_dcs.weights import read_weights

STEPS = 5  # of an epoch
UNEVEN = [2, 2, 3, 3, 7, 7]  # steps of each epoch


def rates(recipe, steps=STEPS, restore=lambda schedule: None):
    optimizer = build_optimizer([nn.Parameter(torch.zeros(1))], recipe)
    schedule = build_schedule(optimizer, recipe, recipe.epochs, steps)
    restore(schedule)
    found = []
    for _ in range(sum(steps) if isinstance(steps, list) else recipe.epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found + [optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_cosine_falls_to_zero_after_the_warm_up(warmup):
    found = rates(TrainConfig(epochs=6, learning_rate=1.0, warmup_epochs=warmup))
    rise, total = warmup * STEPS, 6 * STEPS
    expected = [0.01 + 0.99 * i / rise for i in range(rise)]
    expected += [(1 + math.cos(math.pi * i / (total - rise))) / 2 for i in range(total - rise + 1)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("warmup", [0, 1])
def test_steps_fall_at_their_epochs(warmup):
    recipe = TrainConfig(
        epochs=6, learning_rate=1.0, schedule="step", milestones=[3, 5], warmup_epochs=warmup
    )
    found = rates(recipe)
    for epoch, rate in {2: 1.0, 3: 0.1, 4: 0.1, 5: 0.01}.items():
        assert found[epoch * STEPS : (epoch + 1) * STEPS] == pytest.approx([rate] * STEPS)


@pytest.mark.parametrize("warmup, rise", [(0, 0), (1, 2), (2.5, 6), (2 + 1 / 3, 5), (50, 12)])
def test_an_uneven_run_has_one_cosine_over_all_its_steps(warmup, rise):
    """The rise is cut to half of the 24 steps."""
    found = rates(TrainConfig(epochs=6, learning_rate=1.0, warmup_epochs=warmup), UNEVEN)
    expected = [0.01 + 0.99 * i / rise for i in range(rise)]
    expected += [(1 + math.cos(math.pi * i / (24 - rise))) / 2 for i in range(24 - rise + 1)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("warmup", [0, 1])
def test_steps_of_an_uneven_run_fall_at_its_epochs(warmup):
    """A milestone after the last epoch is never reached, nor in the epochs of a longer run."""
    recipe = TrainConfig(
        epochs=6, learning_rate=1.0, schedule="step", milestones=[2, 5, 8], warmup_epochs=warmup
    )
    found, first = rates(recipe, UNEVEN), 0
    for epoch, steps in enumerate(UNEVEN):
        rate = {0: None if warmup else 1.0, 1: 1.0, 5: 0.01}.get(epoch, 0.1)
        if rate:
            assert found[first : first + steps] == pytest.approx([rate] * steps)
        first += steps
    assert found[-1] == pytest.approx(0.01)
    longer = TrainConfig(**(vars(recipe) | {"epochs": 9}))
    assert rates(longer, [*UNEVEN, 7, 7, 7])[: len(found)] == found


def test_steps_are_resumed_in_the_warm_up(tmp_path):
    """A checkpoint holds plain values, so that its milestones are no ``Counter``."""
    recipe = TrainConfig(
        epochs=4, learning_rate=1.0, schedule="step", milestones=[2], warmup_epochs=1
    )

    def restore(schedule):
        torch.save(
            {"scheduler": schedule.state_dict(), "state_dict": {"weight": torch.zeros(1)}},
            tmp_path / "file.pt",
        )
        schedule.load_state_dict(read_weights(tmp_path / "file.pt")["scheduler"])

    assert rates(recipe, restore=restore) == rates(recipe)


def test_a_list_of_equal_steps_is_their_number():
    for schedule in ("cosine", "step"):
        recipe = TrainConfig(epochs=4, schedule=schedule, milestones=[2], warmup_epochs=0.7)
        assert rates(recipe, [STEPS] * 4) == rates(recipe)


def test_a_warm_up_longer_than_half_the_run_is_cut():
    found = rates(TrainConfig(epochs=2, learning_rate=1.0, warmup_epochs=50))
    assert max(found) == found[STEPS] == pytest.approx(1.0)


def test_sgd_has_momentum_and_adam_does_not():
    parameters = [nn.Parameter(torch.zeros(1))]
    sgd = build_optimizer(parameters, TrainConfig(optimizer="sgd", momentum=0.8, weight_decay=0.1))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["momentum"] == 0.8
    assert sgd.defaults["weight_decay"] == 0.1
    assert isinstance(build_optimizer(parameters, TrainConfig()), torch.optim.Adam)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps_parameters_that_were_frozen_at_first(momentum):
    """As torch's plain SGD does; its fused step fails on them."""
    recipe = TrainConfig(optimizer="sgd", momentum=momentum, weight_decay=0.1, learning_rate=0.1)

    def steps(build):
        frozen, trained = (nn.Parameter(torch.arange(3.0) + i) for i in range(2))
        optimizer = build([frozen, trained])
        for step in range(4):
            optimizer.zero_grad()
            frozen.requires_grad_(step >= 2)
            (trained.square().sum() + (2 * frozen).square().sum()).backward()
            optimizer.step()
        return torch.stack([frozen, trained])

    found = steps(lambda parameters: build_optimizer(parameters, recipe))
    plain = steps(
        lambda parameters: torch.optim.SGD(
            parameters, 0.1, momentum, weight_decay=0.1, foreach=False
        )
    )
    torch.testing.assert_close(found, plain)
