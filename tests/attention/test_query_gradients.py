"""``windowed_query``: its derivatives against differences, and what it keeps for them."""

import pytest
import torch
from helpers.gather_reference import random_features, random_windows
from torch import Tensor

from reid_dcs.attention import windowed_query
from reid_dcs.attention.query import MODES

all_modes = pytest.mark.parametrize("mode", list(MODES))


def inputs_between_integers(shared: bool) -> tuple[Tensor, ...]:
    """Neither s, l nor s + l is near an integer, and no weights tie."""
    x = random_features(1, 2, 8, seed=11)
    start = torch.tensor([[[0.3, 2.2], [1.15, 4.4]]], dtype=torch.float64)
    length = torch.tensor([[[3.35, 4.25], [2.6, 3.35]]], dtype=torch.float64)
    if shared:
        start, length = start[0, 0].clone(), length[0, 0].clone()
    return x.requires_grad_(), start.requires_grad_(), length.requires_grad_()


@all_modes
@pytest.mark.parametrize("union", ["max", "sum"])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
def test_gradcheck_between_integers(shared, union, mode):
    assert torch.autograd.gradcheck(
        lambda *inputs: windowed_query(*inputs, mode=mode, union=union),
        inputs_between_integers(shared),
    )


@all_modes
@pytest.mark.parametrize("union", ["max", "sum"])
def test_second_derivatives(union, mode):
    assert torch.autograd.gradgradcheck(
        lambda *inputs: windowed_query(*inputs, mode=mode, union=union),
        inputs_between_integers(shared=False),
    )


@all_modes
def test_gradients_by_torch_func(mode):
    """A function transform gives what backward gives."""
    x, start, length = (v.detach() for v in inputs_between_integers(shared=False))

    def energy(*windows: Tensor) -> Tensor:
        return windowed_query(x, *windows, mode=mode).square().sum()

    leaves = [v.clone().requires_grad_() for v in (start, length)]
    expected = torch.autograd.grad(energy(*leaves), leaves)
    ours = torch.func.grad(energy, (0, 1))(start, length)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-12)


@all_modes
@pytest.mark.parametrize("windows", [1, 4])
def test_keeps_nothing_but_x_and_the_windows(windows, mode):
    x = random_features(1, 6, 9).requires_grad_()
    start, length = (v.requires_grad_() for v in random_windows((1, 6, windows), 9))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda v: kept.append(v) or v, lambda v: v):
        windowed_query(x, start, length, mode=mode)
    assert {v.data_ptr() for v in kept} == {v.data_ptr() for v in (x, start, length)}


@all_modes
def test_gradcheck_of_a_window_that_begins_before_the_first_channel(mode):
    """Blocks keep their windows inside; the function takes any."""
    x = random_features(1, 2, 8, seed=11).requires_grad_()
    start = torch.tensor([-0.4, -2.3], dtype=torch.float64, requires_grad=True)
    length = torch.tensor([3.7, 4.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: windowed_query(*inputs, mode=mode, union="sum"), (x, start, length)
    )
