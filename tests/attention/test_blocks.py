"""The attention blocks as a network sees them: modules from a feature map to one of its shape."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS, DCS, build_attention

SIZES = [(24, 5, 3), (8, 6, 4)]  # (C, H, W): fewer positions than channels, and more
kinds = pytest.mark.parametrize("kind", list(ATTENTIONS))
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def feature_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def active_block(kind: str, channels: int, **options) -> nn.Module:
    """A block that changes its input, with statistics that are not a fresh BN's."""
    torch.manual_seed(0)
    block = build_attention(kind, channels, zero_init=False, **options)
    with torch.no_grad():
        for name, buffer in block.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return block


@kinds
@sizes
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_zero_init_is_the_identity(kind, size, training):
    block = build_attention(kind, size[0], zero_init=True).train(training)
    x = feature_map(2, *size)
    assert torch.equal(block(x), x)


@kinds
def test_zero_init_is_the_default(kind):
    x = feature_map(2, 8, 6, 4)
    assert torch.equal(build_attention(kind, 8)(x), x)


@kinds
def test_zero_init_is_left_by_the_first_step(kind):
    """At the identity only the last BN learns; a step later every parameter does."""
    torch.manual_seed(0)
    block = build_attention(kind, 8, zero_init=True)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    x, probe = feature_map(4, 8, 6, 4), feature_map(4, 8, 6, 4, seed=1)
    for _ in range(2):
        optimizer.zero_grad()
        (block(x) * probe).sum().backward()
        optimizer.step()
    assert [n for n, p in block.named_parameters() if p.grad.count_nonzero() == 0] == []


@kinds
@sizes
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_without_zero_init_it_attends(kind, size, training):
    block = active_block(kind, size[0]).train(training)
    x = feature_map(2, *size)
    output = block(x)
    assert output.shape == x.shape
    assert (output - x).square().mean() > 1e-3


@kinds
@sizes
@pytest.mark.parametrize("mode", ["mask", "interp"])
def test_every_parameter_gets_a_gradient(kind, size, mode):
    block = active_block(kind, size[0], mode=mode)
    (block(feature_map(4, *size)) * feature_map(4, *size, seed=1)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


@kinds
@sizes
def test_channels_last_gives_the_same(kind, size):
    block = active_block(kind, size[0]).eval()
    x = feature_map(2, *size)
    output = block(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(output, block(x), rtol=1e-5, atol=1e-5)


@kinds
@sizes
def test_an_image_does_not_see_its_batch(kind, size):
    block = active_block(kind, size[0]).eval()
    x = feature_map(3, *size)
    together = block(x)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], block(x[i : i + 1]), rtol=1e-5, atol=1e-5)


@kinds
@sizes
@pytest.mark.parametrize("mode", ["mask", "interp"])
def test_autocast_trains(kind, size, mode):
    """bfloat16 stays near float32, forward; backward reaches every parameter."""
    block = active_block(kind, size[0], mode=mode)
    x, probe = feature_map(4, *size), feature_map(4, *size, seed=1)
    expected = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = block(x)
    error = (output.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 0.05
    (output * probe).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


def test_dcs_is_figure_2():
    """x + BN(DWConv((1/N) R X)), position by position, on a map that is not square."""
    channels, height, width = 6, 3, 2
    block = active_block("dcs", channels, windows=1, min_length=1.5).double().eval()
    x = feature_map(1, channels, height, width).double()
    select = block.select.weight[:, :, 0, 0]
    attended = torch.zeros_like(x)
    for h in range(height):
        for w in range(width):
            own = x[0, :, h, w]
            a, b = select @ own + block.select.bias
            length = 1.5 + (channels - 1.5) * b.sigmoid()
            start = (channels - length) * a.sigmoid()
            edges = start.item(), (start + length).item()
            weights = [min(edges[1], p + 1) - max(edges[0], p) for p in range(channels)]
            weights = torch.tensor(weights).double().clamp(0, 1)
            for g in range(height):
                for v in range(width):
                    other = x[0, :, g, v]
                    affinity = (weights * own * other).sum()
                    attended[0, :, h, w] += affinity * other / (height * width)
    expected = F.conv2d(attended, block.project.weight, padding=1, groups=channels)
    scale = block.norm.weight / (block.norm.running_var + block.norm.eps).sqrt()
    shift = block.norm.bias - scale * block.norm.running_mean
    expected = x + scale[:, None, None] * expected + shift[:, None, None]
    torch.testing.assert_close(block(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("windows", [1, 2, 4])
@pytest.mark.parametrize("scale", [1.0, 1e3], ids=["usual", "saturated"])
def test_dcs_windows_stay_inside_and_follow_the_position(windows, scale):
    channels, min_length = 24, 2.0
    torch.manual_seed(0)
    block = DCS(channels, windows=windows, min_length=min_length)
    start, length = block.windows(scale * feature_map(3, channels, 5, 4))
    assert start.shape == length.shape == (3, 20, windows)
    assert start.min() >= 0
    assert length.min() >= min_length
    assert (start + length).max() <= channels * (1 + 1e-6)
    assert start.flatten(0, 1).std(0).min() > 0.1  # over positions, in every window
    assert length.flatten(0, 1).std(0).min() > 0.1


@pytest.mark.parametrize("windows", [1, 2, 4])
def test_dcs_windows_begin_spread_over_the_channels(windows):
    """Where the features are zero: half of the channels each, starts even over the room left."""
    channels = 25
    start, length = DCS(channels, windows=windows).windows(torch.zeros(1, channels, 2, 3))
    half = torch.full((1, 6, windows), 13.0)
    spread = 12 * (torch.arange(windows) + 0.5) / windows
    torch.testing.assert_close(length, half)
    torch.testing.assert_close(start, spread.expand(1, 6, windows))


@pytest.mark.parametrize("mode", ["mask", "interp"])
def test_dcs_windows_keep_their_fractions_under_autocast(mode):
    """bfloat16 counts channels above 128 in ones and above 256 in twos: too coarse for edges."""
    torch.manual_seed(0)
    block = DCS(320, mode=mode, windows=2)
    with torch.autocast("cpu", torch.bfloat16):
        start, length = block.windows(feature_map(1, 320, 8, 4))
    for edge in (length, start + length):
        above = edge[edge > 128].float()
        assert above.numel() > 20
        assert (above % 1).count_nonzero() > above.numel() / 2


@kinds
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "nearest"}, ValueError),
        ({"union": "mean"}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
    ids=str,
)
def test_bad_options_are_refused_by_name(kind, options, error):
    ((name, value),) = options.items()
    with pytest.raises(error, match=name):
        build_attention(kind, 8, **options)


@pytest.mark.parametrize("windows", [0, -1])
def test_dcs_without_windows_is_refused(windows):
    with pytest.raises(ValueError, match=f"windows.*{windows}"):
        build_attention("dcs", 8, windows=windows)


def test_unknown_kind_is_refused_and_the_known_are_named():
    with pytest.raises(ValueError, match="'nonlocal'.*dcs"):
        build_attention("nonlocal", 8)
