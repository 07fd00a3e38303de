"""Soft windows against the mean overlap under logistic noise, and against hard ones."""

import math

import pytest
import torch
from helpers.gather_reference import random_features, random_windows
from torch import Tensor

from reid_dcs.attention import build_attention, windowed_query

SHAPES = [(1, 1), (3, 7)]  # (N, C)


def mean_fill(edge: Tensor, p: int, softness: float) -> Tensor:
    """The mean of clamp(edge + noise - p, 0, 1), for noise of the logistic distribution.

    It is the integral over channel p of P(edge + noise > u), here by the midpoint rule.
    """
    u = p + (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    return torch.sigmoid((edge - u) / softness).mean()


def soft_query(x: Tensor, start: Tensor, length: Tensor, softness: float) -> Tensor:
    batch, positions, channels = x.shape
    start, length = (v.expand(batch, positions, -1) for v in (start, length))
    values = []
    for b in range(batch):
        for i in range(positions):
            for p in range(channels):
                rest = 1
                for s, width in zip(start[b, i], length[b, i], strict=True):
                    above, below = (mean_fill(edge, p, softness) for edge in (s + width, s))
                    rest = rest * (1 - (above - below))
                values.append(x[b, i, p] * (1 - rest))
    return torch.stack(values).view_as(x)


@pytest.mark.parametrize("softness", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_weights_are_mean_overlaps_and_join_by_products(
    positions, channels, shared, windows, softness
):
    """Values and gradients."""
    x = random_features(2, positions, channels, seed=3).requires_grad_()
    shape = (windows,) if shared else (2, positions, windows)
    start, length = random_windows(shape, channels, seed=3)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    probe = random_features(2, positions, channels, seed=4)
    query = windowed_query(*inputs, softness=softness)
    naive = soft_query(*inputs, softness)
    torch.testing.assert_close(query, naive, rtol=1e-4, atol=1e-5)
    ours = torch.autograd.grad((query * probe).sum(), inputs)
    expected = torch.autograd.grad((naive * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("softness", [0.05, 4.0])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
def test_gradcheck(shared, softness):
    x = random_features(1, 2, 4, seed=5).requires_grad_()
    start, length = random_windows((2,) if shared else (1, 2, 2), 4, seed=5)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    assert torch.autograd.gradcheck(lambda *v: windowed_query(*v, softness=softness), inputs)
    assert torch.autograd.gradgradcheck(lambda *v: windowed_query(*v, softness=softness), inputs)


def test_the_limit_is_mask_for_any_window():
    """Fractional ones too: with one window the difference is below tau."""
    x = random_features(2, 40, 9, seed=6)
    start, length = random_windows((2, 40, 1), 9, seed=6)
    mask = windowed_query(x, start, length, mode="mask")
    differences = [
        ((windowed_query(x, start, length, softness=tau) - mask) / x).abs().max()
        for tau in (0.3, 0.1, 0.02)
    ]
    assert all(d < 1.4 * tau for d, tau in zip(differences, (0.3, 0.1, 0.02), strict=True))
    for mode in ("mask", "bilinear", "interp"):
        assert torch.equal(
            windowed_query(x, start, length, mode=mode, softness=0.0),
            windowed_query(x, start, length, mode=mode),
        )


def test_wide_edges_are_a_difference_of_sigmoids():
    x = random_features(1, 6, 64, seed=7)
    start, length = random_windows((1, 6, 1), 64, seed=7)
    middle = torch.arange(64) + 0.5
    weights = torch.sigmoid((middle - start) / 8) - torch.sigmoid((middle - start - length) / 8)
    torch.testing.assert_close(
        windowed_query(x, start, length, softness=8.0), x * weights, rtol=0, atol=1e-3
    )


def test_a_window_apart_from_a_channel_is_drawn_to_it():
    """Where the gradient of a hard window is 0."""
    x = torch.zeros(1, 1, 24)
    x[..., 20] = 1
    windows = [torch.tensor([v], requires_grad=True) for v in (3.0, 5.0)]
    for softness, moves in ((3.0, True), (0.0, False)):
        gradients = torch.autograd.grad(
            windowed_query(x, *windows, softness=softness).sum(), windows
        )
        assert [g.item() > 0 for g in gradients] == [moves, moves]


def test_a_window_inside_another_has_a_gradient():
    x = torch.ones(1, 1, 16)
    start = torch.tensor([0.0, 6.0])
    length = torch.tensor([16.0, 4.0], requires_grad=True)
    (d_length,) = torch.autograd.grad(windowed_query(x, start, length, softness=1.5).sum(), length)
    assert d_length.min() > 0


@pytest.mark.parametrize("softness", [0.02, 40.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_finite_and_near_double(dtype, softness):
    x = random_features(2, 9, 320, seed=15)
    start, length = random_windows((2, 9, 2), 320, seed=15)
    leaves = [x.to(dtype), start.float(), length.float()]
    query = windowed_query(*(v.requires_grad_() for v in leaves), softness=softness)
    assert query.dtype == dtype
    expected = windowed_query(leaves[0].double(), start, length, softness=softness)
    tolerance = 1e-3 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(query.double(), expected, rtol=tolerance, atol=tolerance)
    assert all(g.isfinite().all() for g in torch.autograd.grad(query.sum(), leaves))


def test_layouts_give_the_same_and_nothing_but_x_and_the_windows_is_kept():
    x = random_features(2, 9, 6)
    start, length = random_windows((2, 9, 2), 6)
    columns = x.mT.contiguous().mT  # channels outermost
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda v: kept.append(v) or v, lambda v: v):
        leaves = [v.requires_grad_() for v in (columns, start, length)]
        query = windowed_query(*leaves, softness=1.0)
    torch.testing.assert_close(query, windowed_query(x, start, length, softness=1.0))
    assert {v.data_ptr() for v in kept} == {v.data_ptr() for v in leaves}


@pytest.mark.parametrize("kind", ["dcs", "dcs_sw", "dcs_pos", "dcs_dim"])
def test_a_soft_block_trains_and_hardens_to_what_it_was(kind):
    torch.manual_seed(0)
    block = build_attention(kind, 12, zero_init=False)
    x = torch.randn(2, 12, 6, 5, generator=torch.Generator().manual_seed(0))
    hard = block(x)
    block.softness = 1.5
    soft = block(x)
    assert not torch.allclose(soft, hard)
    soft.square().mean().backward()
    assert all(p.grad.count_nonzero() > 0 for p in block.parameters())
    block.softness = 0.0
    assert torch.equal(block(x), hard)


@pytest.mark.parametrize("kind", ["dcs", "dcs_sw", "dcs_pos", "dcs_dim"])
def test_edges_are_hard_in_evaluation(kind):
    """What is evaluated within a search is what its weights say."""
    torch.manual_seed(0)
    block = build_attention(kind, 12, zero_init=False).eval()
    x = torch.randn(2, 12, 6, 5, generator=torch.Generator().manual_seed(0))
    hard = block(x)
    block.softness = 1.5
    assert torch.equal(block(x), hard)


def test_soft_static_windows_read_every_channel():
    """Their edges reach beyond the slice that hard ones touch."""
    block = build_attention("dcs_sw", 64).double()
    block.softness = 4.0
    tokens = random_features(1, 5, 64)
    windows = block.windows(tokens)
    assert block.touched(windows) == (0, 64)
    weight = (block.query(tokens, windows) / tokens)[0, 0, 0].item()  # of channel 0
    assert weight == pytest.approx(1 / (1 + math.exp(15.25 / 4)), rel=0.01)


@pytest.mark.slow
def test_a_soft_block_is_one_graph():
    block = build_attention("dcs", 12, zero_init=False)
    block.softness = 1.5
    x = torch.randn(2, 12, 6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    outputs = [f(x) for f in (compiled, block)]
    gradients = [torch.autograd.grad(y.square().mean(), x)[0] for y in outputs]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    torch.compiler.reset()
