"""The attention blocks as a network sees them: modules from a feature map to one of its shape."""

import copy

import pytest
import torch
from helpers.attention_kinds import WINDOWED, every_reading
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS, build_attention, report_windows

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


@pytest.mark.parametrize("kind", ["dcs", "dcs_sw", "dcs_pos", "dcs_dim"])
@pytest.mark.parametrize("softness", [0.0, 2.0], ids=["hard", "soft"])
@pytest.mark.parametrize("zero_init", [True, False])
def test_windows_have_a_gradient_in_the_first_step_without_zero_init_alone(
    kind, softness, zero_init
):
    """A last BN of scale 0 lets nothing through, exactly; the step gives it a scale."""
    torch.manual_seed(0)
    block = build_attention(kind, 8, zero_init=zero_init)
    block.softness = softness
    x, probe = feature_map(4, 8, 6, 4), feature_map(4, 8, 6, 4, seed=1)
    found = [p for n, p in block.named_parameters() if not n.startswith(("project", "norm"))]
    optimizer = torch.optim.SGD(block.norm.parameters(), lr=0.1)
    counts = []
    for _ in range(2):
        block.zero_grad()
        (block(x) * probe).sum().backward()
        counts.append([p.grad.count_nonzero().item() > 0 for p in found])
        optimizer.step()
    assert counts == [[not zero_init] * len(found), [True] * len(found)]


@kinds
@sizes
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_without_zero_init_it_attends(kind, size, training):
    block = active_block(kind, size[0]).train(training)
    x = feature_map(2, *size)
    output = block(x)
    assert output.shape == x.shape
    assert (output - x).square().mean() > 1e-3


@every_reading
@sizes
def test_every_parameter_gets_a_gradient(kind, options, size):
    block = active_block(kind, size[0], **options)
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


@every_reading
@sizes
def test_autocast_trains(kind, options, size):
    """bfloat16 stays near float32, forward; backward reaches every parameter."""
    block = active_block(kind, size[0], **options)
    x, probe = feature_map(4, *size), feature_map(4, *size, seed=1)
    torch.manual_seed(1)
    expected = block(x)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        output = block(x)
    error = (output.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 0.05
    (output * probe).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("kind", WINDOWED)
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


def test_unknown_kind_is_refused_and_the_known_are_named():
    with pytest.raises(ValueError, match="'nonlocal'.*dcs"):
        build_attention("nonlocal", 8)


@pytest.mark.parametrize("kind", WINDOWED)
@sizes
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_report_says_what_is_selected_and_changes_nothing(kind, size, training):
    block = active_block(kind, size[0]).train(training)
    x = feature_map(2, *size)
    torch.manual_seed(1)
    expected = copy.deepcopy(block)(x)
    torch.manual_seed(1)
    start, length, selected = block.report(x)
    assert torch.equal(block(x), expected)  # statistics, gradients and random numbers as they were
    positions = size[1] * size[2]
    assert start.shape == length.shape == (2, positions, start.shape[-1])
    assert selected.shape == (2, positions)
    for b in range(2):
        for i in range(positions):
            windows = [*zip(start[b, i].tolist(), length[b, i].tolist(), strict=True)]
            shares = [
                max(max(0, min(s + width, p + 1) - max(s, p)) for s, width in windows)
                for p in range(size[0])
            ]
            assert selected[b, i].item() == pytest.approx(sum(shares) / size[0], abs=1e-5)


def test_report_windows_of_a_network():
    """By module name, from what reaches each block; the network is left in its modes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        build_attention("dcs", 8),
        nn.AvgPool2d(2),
        build_attention("sa", 8),
    )
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    images = feature_map(2, 3, 6, 4)
    reports = report_windows(network, images)
    assert list(reports) == ["2", "4"]
    with torch.no_grad():
        expected = network[2].report(network.eval()[:2](images))
    assert all(map(torch.equal, reports["2"], expected))
    assert reports["4"].start.shape == (2, 6, 1)
    assert all(torch.equal(v, before[name]) for name, v in network.state_dict().items())


def test_report_windows_leaves_the_modes_and_no_hook():
    network = nn.Sequential(build_attention("dcs", 8), nn.Dropout())
    network[1].eval()
    report_windows(network, feature_map(1, 8, 2, 2))
    assert network[0].training and not network[1].training
    assert not network[0]._forward_pre_hooks
