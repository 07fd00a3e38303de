"""Where squashed windows may lie, for any logits or offsets."""

import math

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_dcs.attention import squash_window
from reid_dcs.attention.bounds import BOUNDS


@pytest.mark.slow
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(
    start_logit=st.floats(allow_nan=False, width=32),
    length_logit=st.floats(allow_nan=False, width=32),
    channels=st.integers(1, 2048),
    min_length=st.floats(0, 4096, width=32),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    bounds=st.sampled_from(list(BOUNDS)),
)
@example(math.inf, -math.inf, 1, 1.0, torch.float64, "sigmoid")
@example(math.inf, -math.inf, 2048, 1.0, torch.float32, "sigmoid")
@example(-math.inf, math.inf, 2048, 4096.0, torch.float32, "sigmoid")
@example(math.inf, math.inf, 2047, 0.1, torch.float32, "sigmoid")
@example(40.0, 40.0, 2047, 1.0, torch.float64, "sigmoid")
@example(math.inf, -math.inf, 2048, 1.0, torch.float32, "clamp")
@example(-math.inf, math.inf, 2047, 0.1, torch.float32, "softplus")
@example(0.0, 4000.0, 1, 1.0, torch.float32, "reflect")
def test_squashed_windows_stay_inside(
    start_logit, length_logit, channels, min_length, dtype, bounds
):
    """Exactly, also in what is added up from them: s >= 0, l >= l_min, s + l <= C."""
    given = torch.tensor([[start_logit], [length_logit]]).to(dtype)
    assume(bounds != "reflect" or given.isfinite().all())  # infinity is nowhere on its way
    start, length = squash_window(*given, channels, min_length, bounds)
    assert start >= 0
    assert length >= torch.tensor(min(min_length, channels), dtype=length.dtype)
    assert start + length <= channels


@pytest.mark.parametrize("bounds", ["clamp", "softplus", "sigmoid"])
@pytest.mark.parametrize(("channels", "min_length"), [(1, 1.0), (24, 1.0), (320, 8.0), (5, 9.0)])
def test_squashed_windows_reach_every_corner(channels, min_length, bounds):
    """Infinite logits give the whole map, and the shortest window at either end."""
    shortest = min(channels, min_length)
    low, high = torch.tensor([-math.inf]), torch.tensor([math.inf])

    def corner(*logits: Tensor) -> tuple[float, float]:
        start, length = squash_window(*logits, channels, min_length, bounds)
        return start.item(), length.item()

    assert corner(low, high) == corner(high, high) == (0, channels)
    assert corner(low, low) == (0, shortest)
    assert corner(high, low) == (channels - shortest, shortest)
