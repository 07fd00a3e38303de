"""``windowed_query`` against gathers written straight from the paper, one channel at a time."""

import inspect

import pytest
import torch
from helpers.gather_reference import (
    blended_query,
    gathered_affinity,
    masked_query,
    random_features,
    random_windows,
    union_affinity,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reid_dcs.attention import build_attention, channel_attention, windowed_query
from reid_dcs.attention.query import DEFAULT_MODE, MODES

SHAPES = [(1, 1), (1, 5), (3, 1), (4, 5), (3, 24)]  # (N, C): both product orders
PLACES = ["inside", "from_first", "to_last", "all"]
all_modes = pytest.mark.parametrize("mode", list(MODES))

# --- interp --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_interp_gives_the_affinity_and_output_of_the_gather(positions, channels, place):
    x = random_features(2, positions, channels)
    start, length = random_windows((2, positions, 1), channels, place)
    query = windowed_query(x, start, length, mode="interp")
    expected = gathered_affinity(x, start, length)
    torch.testing.assert_close(query @ x.mT, expected, rtol=1e-12, atol=1e-12)
    output, naive = channel_attention(query, x, x), expected @ x / positions
    torch.testing.assert_close(output, naive, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", PLACES[:3])  # at integers the window has no gradient
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_interp_gives_the_gradients_of_the_gather(positions, channels, place):
    x = random_features(2, positions, channels, seed=1).requires_grad_()
    start, length = random_windows((2, positions, 1), channels, place, seed=1)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    probe = random_features(2, positions, channels, seed=2)
    output = channel_attention(windowed_query(*inputs, mode="interp"), x, x)
    naive = gathered_affinity(*inputs) @ x / positions
    ours = torch.autograd.grad((output * probe).sum(), inputs)
    expected = torch.autograd.grad((naive * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("union", ["max", "sum"])
@pytest.mark.parametrize("windows", [2, 4])
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_interp_unites_windows_as_their_matrices(positions, channels, windows, union):
    """Output and all gradients, in both orders of the product."""
    x = random_features(2, positions, channels, seed=13).requires_grad_()
    start, length = random_windows((2, positions, windows), channels, seed=13)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    probe = random_features(2, positions, channels, seed=14)
    output = channel_attention(windowed_query(*inputs, mode="interp", union=union), x, x)
    naive = union_affinity(*inputs, union) @ x / positions
    torch.testing.assert_close(output, naive, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad((output * probe).sum(), inputs)
    expected = torch.autograd.grad((naive * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


# --- mask and bilinear ---------------------------------------------------------------------------

REFERENCES = {"mask": masked_query, "bilinear": blended_query}
weights_of_channels = pytest.mark.parametrize("mode", list(REFERENCES))


@pytest.mark.parametrize("union", ["max", "sum"])
@pytest.mark.parametrize("windows", [1, 2, 4])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
@weights_of_channels
def test_channels_are_weighed_as_in_loops(mode, positions, channels, shared, windows, union):
    """Values and gradients: overlaps of ``mask``, blends of four whole windows of ``bilinear``."""
    x = random_features(2, positions, channels, seed=3).requires_grad_()
    shape = (windows,) if shared else (2, positions, windows)
    start, length = random_windows(shape, channels, seed=3)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    probe = random_features(2, positions, channels, seed=4)
    query = windowed_query(*inputs, mode=mode, union=union)
    naive = REFERENCES[mode](*inputs, union)
    torch.testing.assert_close(query, naive, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad((query * probe).sum(), inputs)
    expected = torch.autograd.grad((naive * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("place", PLACES[1:])
@weights_of_channels
def test_windows_that_touch_an_end(mode, place):
    """The values, and the gradient of x, which is the weights themselves."""
    x = random_features(2, 3, 7, seed=5).requires_grad_()
    start, length = random_windows((2, 3, 1), 7, place, seed=5)
    query = windowed_query(x, start, length, mode=mode)
    naive = REFERENCES[mode](x, start, length, "max")
    torch.testing.assert_close(query, naive, rtol=1e-12, atol=1e-12)
    (ours,) = torch.autograd.grad(query.sum(), x)
    (expected,) = torch.autograd.grad(naive.sum(), x)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_mask_gradient_inside_one_channel():
    """A window within channel 2: its length is that channel's weight, its start does not matter."""
    x = torch.arange(1.0, 6.0, dtype=torch.float64).view(1, 1, 5)
    start = torch.tensor([2.25], dtype=torch.float64, requires_grad=True)
    length = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    query = windowed_query(x, start, length, mode="mask")
    assert query.flatten().tolist() == [0, 0, 1.5, 0, 0]
    query.sum().backward()
    assert (start.grad.item(), length.grad.item()) == (0, 3)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    channels=st.integers(1, 9),
    windows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3),
    union=st.sampled_from(["max", "sum"]),
)
@example(5, [(0.75, 0.5)], "max")  # s + l = C, both fractional: the channel past the last counts
@example(1, [(0.5, 0.5)], "max")
@example(4, [(1.0, 0.0)], "sum")  # empty, at the upper end
def test_bilinear_is_the_blend_of_four_whole_windows(channels, windows, union):
    """Anywhere in [0, C], whole windows, empty ones and both ends included."""
    length = channels * torch.tensor([[[w for _, w in windows]]], dtype=torch.float64)
    start = (channels - length) * torch.tensor([[[s for s, _ in windows]]], dtype=torch.float64)
    inputs = random_features(1, 1, channels), start, length
    leaves = [v.requires_grad_() for v in inputs]
    ours, naive = (
        windowed_query(*leaves, mode="bilinear", union=union),
        blended_query(*leaves, union),
    )
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)
    gradients = zip(*(torch.autograd.grad(y.sum(), leaves) for y in (ours, naive)), strict=True)
    ties = union == "max" and len(windows) > 1  # their gradients are a matter of convention
    for gradient, reference in list(gradients)[: 1 if ties else 3]:
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("whole", ["start", "length"])
def test_bilinear_is_mask_where_start_or_length_is_whole(whole):
    x = random_features(2, 5, 11, seed=16)
    start, length = random_windows((2, 5, 3), 11, seed=16)
    windows = (start.floor(), length) if whole == "start" else (start, length.floor())
    ours, mask = (windowed_query(x, *windows, mode=mode) for mode in ("bilinear", "mask"))
    torch.testing.assert_close(ours, mask, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(
        *(windowed_query(x, start, length, mode=mode) for mode in ("bilinear", "mask"))
    )


# --- all -----------------------------------------------------------------------------------------


def test_one_default_in_every_place():
    default = inspect.signature(windowed_query).parameters["mode"].default
    assert default == DEFAULT_MODE
    assert {build_attention(kind, 4).mode for kind in ("sa", "dcs", "dcs_sw", "gsa")} == {default}


@all_modes
@pytest.mark.parametrize("windows", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 9])
def test_integer_windows_select_the_union_of_their_channels(channels, windows, mode):
    generator = torch.Generator().manual_seed(6)
    x = random_features(2, 40, channels, seed=6)
    start = torch.randint(0, channels, (2, 40, windows), generator=generator)
    room = channels - start
    length = 1 + (torch.rand(start.shape, generator=generator) * room).long().clamp(max=room - 1)
    expected = torch.zeros_like(x)
    for b in range(2):
        for i in range(40):
            chosen: set[int] = set()
            for s, width in zip(start[b, i].tolist(), length[b, i].tolist(), strict=True):
                chosen |= set(range(s, s + width))
            for p in chosen:
                expected[b, i, p] = x[b, i, p]
    query = windowed_query(x, start.double(), length.double(), mode=mode, union="max")
    assert torch.equal(query, expected)


@all_modes
def test_max_union_of_equal_windows_is_the_window(mode):
    x = random_features(2, 5, 11, seed=7)
    start, length = random_windows((2, 5, 1), 11, seed=7)
    once = windowed_query(x, start, length, mode=mode)
    thrice = windowed_query(x, start.repeat(1, 1, 3), length.repeat(1, 1, 3), mode=mode)
    assert torch.equal(once, thrice)


@all_modes
def test_sum_union_adds_the_windows(mode):
    x = random_features(2, 5, 11, seed=8)
    start, length = random_windows((2, 5, 3), 11, seed=8)
    query = windowed_query(x, start, length, mode=mode, union="sum")
    parts = [
        windowed_query(x, *window, mode=mode)
        for window in zip(start.split(1, -1), length.split(1, -1), strict=True)
    ]
    torch.testing.assert_close(query, sum(parts), rtol=1e-12, atol=1e-12)


@all_modes
@pytest.mark.parametrize("union", ["max", "sum"])
def test_shared_windows_are_the_same_windows_everywhere(mode, union):
    """Values, and gradients summed over the positions that share a window."""
    x = random_features(2, 4, 7, seed=9)
    start, length = random_windows((2,), 7, seed=9)
    shared = (start.clone().requires_grad_(), length.clone().requires_grad_())
    spread = tuple(v.expand(2, 4, 2).clone().requires_grad_() for v in (start, length))
    probe = random_features(2, 4, 7, seed=10)
    results = []
    for windows in (shared, spread):
        query = windowed_query(x, *windows, mode=mode, union=union)
        results.append((query, torch.autograd.grad((query * probe).sum(), windows)))
    (query, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(query, expected, rtol=1e-12, atol=1e-12)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, reference.sum((0, 1)), rtol=1e-11, atol=1e-11)


@all_modes
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_keep_float32_windows(dtype, mode):
    """Windows are counted in float32 even where the features are not; a large C shows it."""
    x = random_features(2, 9, 700, seed=15)
    start, length = random_windows((2, 9, 2), 700, seed=15)
    query = windowed_query(x.to(dtype), start.float(), length.float(), mode=mode)
    assert query.dtype == dtype
    expected = windowed_query(x.to(dtype).double(), start, length, mode=mode)
    torch.testing.assert_close(query.double(), expected, rtol=0.02, atol=0.005)


@all_modes
def test_not_a_number_stays_not_a_number(mode):
    """A diverged network must reach the engine's own message, not die in an index."""
    x = random_features(1, 3, 6, seed=12).requires_grad_()
    start, length = random_windows((1, 3, 2), 6, seed=12)
    start[0, 1, 0] = torch.nan
    start.requires_grad_()
    query = windowed_query(x, start, length.requires_grad_(), mode=mode)
    query.sum().backward()
    assert query[0, 1].isnan().any()
    assert query[0, [0, 2]].isfinite().all()


@pytest.mark.parametrize("option", [{"mode": "nearest"}, {"union": "mean"}])
@all_modes
def test_unknown_mode_or_union_is_refused(option, mode):
    x, window = torch.ones(1, 2, 4), torch.ones(1, 2, 1)
    (name, value), *_ = option.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        windowed_query(x, window, window, **({"mode": mode} | option))
