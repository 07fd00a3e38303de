"""``channel_attention``: the right product, in the cheaper order, within half precision."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from reid_dcs.attention import channel_attention

SHAPES = [(1, 1), (1, 6), (3, 7), (5, 5), (6, 5), (17, 4), (4, 1)]  # (N, C)


class LargestTensor(TorchDispatchMode):
    """Remembers the elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


def random_inputs(*shape: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(3)]


@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_equals_the_definition(positions, channels):
    query, key, value = random_inputs(2, positions, channels)
    expected = torch.zeros_like(value)
    for b in range(2):
        for i in range(positions):
            for j in range(positions):
                expected[b, i] += (query[b, i] @ key[b, j]) * value[b, j] / positions
    result = channel_attention(query, key, value)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_runs_the_order_with_fewer_multiply_adds(positions, channels):
    with FlopCounterMode(display=False) as counter:
        channel_attention(*random_inputs(2, positions, channels))
    multiply_adds = 2 * 2 * min(positions**2 * channels, positions * channels**2)
    assert counter.get_total_flops() == 2 * multiply_adds


@pytest.mark.parametrize(("positions", "channels"), [(20000, 4), (3, 400)])
def test_no_tensor_grows_with_the_square_of_the_longer_side(positions, channels):
    """Forward and backward; 20000 positions squared would be 3.2 GB."""
    inputs = [v.requires_grad_() for v in random_inputs(2, positions, channels, dtype=torch.float)]
    with LargestTensor() as seen:
        channel_attention(*inputs).sum().backward()
    assert seen.elements == 2 * positions * channels


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_a_large_map_neither_overflows_nor_vanishes(dtype):
    """Summed before the division, K^T V would be 20000 * 16, beyond float16's 65504."""
    generator = torch.Generator().manual_seed(0)
    tokens = (torch.randn(1, 20000, 4, generator=generator) + 4).to(dtype)
    result = channel_attention(tokens, tokens, tokens)
    assert result.dtype == dtype
    expected = channel_attention(*[tokens.double()] * 3)
    torch.testing.assert_close(result.double(), expected, rtol=0.02, atol=0)
