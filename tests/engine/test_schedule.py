"""The learning rate, step by step."""

import math

import pytest
import torch

from reid_dcs.engine import warmup_cosine


@pytest.mark.parametrize("steps, warmup", [(100, 10), (100, 0), (10, 50), (1, 0)])
def test_a_linear_rise_and_a_cosine(steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_cosine(optimizer, steps, warmup)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    warmup = min(warmup, steps // 2)
    for step, rate in enumerate(rates):
        if step < warmup:
            expected = 0.01 + 0.99 * step / warmup
        else:
            expected = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
        assert rate == pytest.approx(2 * expected, abs=1e-6)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-6)
