"""``windowed_query`` against gathers written straight from the paper, one channel at a time."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_dcs.attention import channel_attention, squash_window, windowed_query

SHAPES = [(1, 5), (3, 1), (4, 5), (3, 24)]  # (N, C)
PLACES = ["inside", "from_first", "to_last", "all"]


def random_windows(shape: tuple[int, ...], channels: int, place: str = "inside", seed: int = 0):
    """Fractional windows inside ``[0, channels]``, some of them shorter than one channel."""
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.rand(2, *shape, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    length = channels * u
    start = (channels - length) * v
    if place == "from_first":
        start = torch.zeros_like(start)
    if place == "to_last":
        length = channels - start
    if place == "all":
        start, length = torch.zeros_like(start), torch.full_like(length, channels)
    return start, length


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- The slow references -------------------------------------------------------------------------


def channel_slice(x: Tensor, first: int, count: int, size: int) -> Tensor:
    """x[first], ..., x[first + count - 1], then zeros up to ``size``; 0 past the last channel."""
    values = []
    for k in range(size):
        inside = k < count and first + k < len(x)
        values.append(x[first + k] if inside else x.new_zeros(()))
    return torch.stack(values)


def selected(x: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """x(s, l) by Eqs. (3)-(5), for the feature x (C,) of one position."""
    s_int, l_int = math.floor(start.item()), math.floor(length.item())
    s_dec, l_dec = start - s_int, length - l_int
    size = l_int + 1
    lower = (1 - l_dec) * channel_slice(x, s_int, l_int, size)  # Eq. (3)
    lower = lower + l_dec * channel_slice(x, s_int, l_int + 1, size)
    upper = (1 - l_dec) * channel_slice(x, s_int + 1, l_int, size)  # Eq. (4)
    upper = upper + l_dec * channel_slice(x, s_int + 1, l_int + 1, size)
    return (1 - s_dec) * lower + s_dec * upper  # Eq. (5)


def gathered_affinity(x: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """R of Eq. (2), r_ij = <x_i(s_i, l_i), x_j(s_i, l_i)>: x (B, N, C), windows (B, N, 1)."""
    batches = []
    for b in range(len(x)):
        rows = []
        for i in range(x.shape[1]):
            window = start[b, i, 0], length[b, i, 0]
            own = selected(x[b, i], *window)
            rows.append(torch.stack([own @ selected(x_j, *window) for x_j in x[b]]))
        batches.append(torch.stack(rows))
    return torch.stack(batches)


def masked_query(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """x_p times the union of clamp(min(s + l, p + 1) - max(s, p), 0, 1), in loops."""
    batch, positions, channels = x.shape
    start = start.expand(batch, positions, -1)
    length = length.expand(batch, positions, -1)
    values = []
    for b in range(batch):
        for i in range(positions):
            for p in range(channels):
                weights = []
                for s, width in zip(start[b, i], length[b, i], strict=True):
                    overlap = torch.as_tensor(min(p + 1, s + width) - max(s, p), dtype=x.dtype)
                    weights.append(overlap.clamp(0, 1))
                weight = max(weights) if union == "max" else sum(weights)
                values.append(x[b, i, p] * weight)
    return torch.stack(values).view_as(x)


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


# --- mask ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("union", ["max", "sum"])
@pytest.mark.parametrize("windows", [1, 2, 4])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
@pytest.mark.parametrize(("positions", "channels"), SHAPES)
def test_mask_gives_the_overlaps_and_their_gradients(positions, channels, shared, windows, union):
    x = random_features(2, positions, channels, seed=3).requires_grad_()
    shape = (windows,) if shared else (2, positions, windows)
    start, length = random_windows(shape, channels, seed=3)
    inputs = (x, start.requires_grad_(), length.requires_grad_())
    probe = random_features(2, positions, channels, seed=4)
    query = windowed_query(*inputs, mode="mask", union=union)
    naive = masked_query(*inputs, union)
    torch.testing.assert_close(query, naive, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad((query * probe).sum(), inputs)
    expected = torch.autograd.grad((naive * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("place", PLACES[1:])
def test_mask_windows_that_touch_an_end(place):
    """The values, and the gradient of x, which is the weights themselves."""
    x = random_features(2, 3, 7, seed=5).requires_grad_()
    start, length = random_windows((2, 3, 1), 7, place, seed=5)
    query = windowed_query(x, start, length, mode="mask")
    naive = masked_query(x, start, length, "max")
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


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["interp", "mask"])
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


@pytest.mark.parametrize("mode", ["interp", "mask"])
def test_max_union_of_equal_windows_is_the_window(mode):
    x = random_features(2, 5, 11, seed=7)
    start, length = random_windows((2, 5, 1), 11, seed=7)
    once = windowed_query(x, start, length, mode=mode)
    thrice = windowed_query(x, start.repeat(1, 1, 3), length.repeat(1, 1, 3), mode=mode)
    assert torch.equal(once, thrice)


@pytest.mark.parametrize("mode", ["interp", "mask"])
def test_sum_union_adds_the_windows(mode):
    x = random_features(2, 5, 11, seed=8)
    start, length = random_windows((2, 5, 3), 11, seed=8)
    query = windowed_query(x, start, length, mode=mode, union="sum")
    parts = [
        windowed_query(x, *window, mode=mode)
        for window in zip(start.split(1, -1), length.split(1, -1), strict=True)
    ]
    torch.testing.assert_close(query, sum(parts), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["interp", "mask"])
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


def inputs_between_integers(shared: bool) -> tuple[Tensor, ...]:
    """Neither s, l nor s + l is near an integer, and no weights tie."""
    x = random_features(1, 2, 8, seed=11)
    start = torch.tensor([[[0.3, 2.2], [1.15, 4.4]]], dtype=torch.float64)
    length = torch.tensor([[[3.35, 4.25], [2.6, 3.35]]], dtype=torch.float64)
    if shared:
        start, length = start[0, 0].clone(), length[0, 0].clone()
    return x.requires_grad_(), start.requires_grad_(), length.requires_grad_()


@pytest.mark.parametrize("mode", ["interp", "mask"])
@pytest.mark.parametrize("union", ["max", "sum"])
@pytest.mark.parametrize("shared", [False, True], ids=["a_position", "shared"])
def test_gradcheck_between_integers(shared, union, mode):
    assert torch.autograd.gradcheck(
        lambda *inputs: windowed_query(*inputs, mode=mode, union=union),
        inputs_between_integers(shared),
    )


@pytest.mark.parametrize("mode", ["interp", "mask"])
def test_second_derivatives_are_right_or_refused(mode):
    x, start, length = inputs_between_integers(shared=False)

    def twice() -> bool:
        return torch.autograd.gradgradcheck(
            lambda *inputs: windowed_query(*inputs, mode=mode), (x, start, length)
        )

    try:
        assert twice()
    except RuntimeError as error:
        if "once_differentiable" not in str(error):
            raise


@pytest.mark.parametrize("mode", ["interp", "mask"])
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
@pytest.mark.parametrize("mode", ["interp", "mask"])
def test_unknown_mode_or_union_is_refused(option, mode):
    x, window = torch.ones(1, 2, 4), torch.ones(1, 2, 1)
    (name, value), *_ = option.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        windowed_query(x, window, window, **({"mode": mode} | option))


# --- squash_window -------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    start_logit=st.floats(allow_nan=False),
    length_logit=st.floats(allow_nan=False),
    channels=st.integers(1, 2048),
    min_length=st.floats(0, 4096),
)
@example(math.inf, -math.inf, 1, 1.0)
@example(math.inf, -math.inf, 2048, 1.0)
@example(-math.inf, math.inf, 2048, 4096.0)
@example(40.0, 40.0, 2047, 1.0)
def test_squashed_windows_stay_inside(start_logit, length_logit, channels, min_length):
    logits = torch.tensor([[start_logit], [length_logit]], dtype=torch.float64)
    start, length = (v.item() for v in squash_window(*logits, channels, min_length))
    assert start >= 0
    assert length >= min(min_length, channels)
    assert start + length <= channels + 1e-9 * channels


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
