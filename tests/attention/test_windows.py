"""Where squashed windows may lie, for any logits."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_dcs.attention import squash_window


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(
    start_logit=st.floats(allow_nan=False, width=32),
    length_logit=st.floats(allow_nan=False, width=32),
    channels=st.integers(1, 2048),
    min_length=st.floats(0, 4096, width=32),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
@example(math.inf, -math.inf, 1, 1.0, torch.float64)
@example(math.inf, -math.inf, 2048, 1.0, torch.float32)
@example(-math.inf, math.inf, 2048, 4096.0, torch.float32)
@example(math.inf, math.inf, 2047, 0.1, torch.float32)
@example(40.0, 40.0, 2047, 1.0, torch.float64)
def test_squashed_windows_stay_inside(start_logit, length_logit, channels, min_length, dtype):
    """Exactly, also in what is added up from them: s >= 0, l >= l_min, s + l <= C."""
    logits = torch.tensor([[start_logit], [length_logit]]).to(dtype)
    start, length = squash_window(*logits, channels, min_length)
    assert start >= 0
    assert length >= torch.tensor(min(min_length, channels), dtype=length.dtype)
    assert start + length <= channels


@pytest.mark.parametrize(("channels", "min_length"), [(1, 1.0), (24, 1.0), (320, 8.0), (5, 9.0)])
def test_squashed_windows_reach_every_corner(channels, min_length):
    """Infinite logits give the whole map, and the shortest window at either end."""
    shortest = min(channels, min_length)
    low, high = torch.tensor([-math.inf]), torch.tensor([math.inf])

    def corner(*logits: Tensor) -> tuple[float, float]:
        start, length = squash_window(*logits, channels, min_length)
        return start.item(), length.item()

    assert corner(low, high) == corner(high, high) == (0, channels)
    assert corner(low, low) == (0, shortest)
    assert corner(high, low) == (channels - shortest, shortest)
