"""How parameters are kept in a range: slopes inside, at the ends and beyond."""

import pytest
import torch

from reid_dcs.attention import build_attention, squash_window
from reid_dcs.attention.bounds import BOUNDS

IN_CHANNELS = [name for name in BOUNDS if name != "sigmoid"]
SIZES = [24, 96, 320]
in_channels = pytest.mark.parametrize("bounds", IN_CHANNELS)
sizes = pytest.mark.parametrize("channels", SIZES)


def slopes(bounds: str, offsets: torch.Tensor, upper: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and derivatives at ``upper / 2 + offsets``, by differences of values."""
    offsets = offsets.double()
    step = 1e-4
    values = [BOUNDS[bounds](offsets + h, upper, upper / 2) for h in (-step, 0, step)]
    return values[1], (values[2] - values[0]) / (2 * step)


@in_channels
@sizes
def test_the_slope_inside_is_1_channel_for_any_number_of_channels(bounds, channels):
    offsets = torch.linspace(-0.5, 0.5, 37) * (channels - 8)  # 4 channels from either end
    values, slope = slopes(bounds, offsets, channels)
    torch.testing.assert_close(values, channels / 2 + offsets.double(), rtol=0, atol=0.02)
    torch.testing.assert_close(slope, torch.ones_like(slope), rtol=0, atol=0.02)
    leaf = offsets.double().requires_grad_()
    (gradient,) = torch.autograd.grad(BOUNDS[bounds](leaf, channels, channels / 2).sum(), leaf)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-4)


@sizes
def test_the_slope_of_a_sigmoid_grows_with_the_channels_and_falls_to_both_ends(channels):
    _, slope = slopes("sigmoid", torch.tensor([-5.0, 0.0, 5.0]), channels)
    assert slope[1].item() == pytest.approx(channels / 4, rel=1e-3)
    assert slope[0] < slope[1] / 30 and slope[2] < slope[1] / 30


@sizes
@pytest.mark.parametrize("end", [-1, 1])
def test_a_clamp_lets_a_window_come_back_and_go_no_further(channels, end):
    offset = torch.tensor(end * (channels / 2 + 3.0), requires_grad=True)  # 3 channels outside
    value = BOUNDS["clamp"](offset, channels, channels / 2)
    assert value.item() == (channels if end > 0 else 0)
    (outwards,) = torch.autograd.grad(-end * value, offset, retain_graph=True)
    (inwards,) = torch.autograd.grad(end * value, offset)  # descent makes the value smaller
    assert (outwards.item(), inwards.item()) == (0, end)


def test_a_start_at_the_end_of_its_room_asks_for_a_shorter_window():
    """s = C - l there: the length has the start's gradient."""
    start, length = (torch.tensor([v], requires_grad=True) for v in (20.0, 0.0))
    s, width = squash_window(start, length, 24, bounds="clamp")
    assert (s + width).item() == 24
    d_start, d_length = torch.autograd.grad(-s.sum(), (start, length))  # further up
    assert (d_start.item(), d_length.item()) == (0, 1)


@in_channels
@pytest.mark.parametrize("channels", [24, 320])
def test_descent_brings_a_window_anywhere(bounds, channels):
    """From the middle to both ends and into a corner, by steps that depend on the size alone."""
    at, share = torch.tensor([(0.0, 1.0), (1.0, 0.0), (0.5, 0.25)]).unbind(-1)
    goal_length = 1 + (channels - 1) * share
    goal_start = (channels - goal_length) * at
    parameters = [torch.zeros(3, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.Adam(parameters, lr=channels / 100)
    for _ in range(150):
        start, length = squash_window(*parameters, channels, bounds=bounds)
        loss = ((start - goal_start).square() + (length - goal_length).square()).sum() / channels
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (start - goal_start).abs().max() < 0.05 * channels
    assert (length - goal_length).abs().max() < 0.05 * channels


@pytest.mark.parametrize("channels", [24, 320])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_a_step_on_the_convolution_moves_windows_as_far_for_any_features(channels, scale):
    """SGD on weights and bias together: twice the step on the bias alone."""
    torch.manual_seed(0)
    block = build_attention("dcs", channels, windows=1)
    x = scale * torch.randn(1, channels, 1, 1)
    start, _ = block.windows(x)
    start.sum().backward()
    with torch.no_grad():
        for parameter in block.select.parameters():
            parameter -= 0.3 * parameter.grad
    moved = start - block.windows(x).start
    assert moved.item() == pytest.approx(0.6, rel=1e-3)


@pytest.mark.parametrize("norm", [0.0, 0.01, 1.0])
def test_small_features_do_not_magnify_rounding(norm):
    """In bfloat16 a start of 240 has a rounding error of up to half a channel."""
    torch.manual_seed(0)
    block = build_attention("dcs", 320)
    x = torch.randn(1, 320, 4, 4)
    x *= norm / x.norm(dim=1, keepdim=True)
    expected = block.windows(x).start
    with torch.autocast("cpu", torch.bfloat16):
        start = block.windows(x).start
    torch.testing.assert_close(start, expected, rtol=0, atol=0.5)
