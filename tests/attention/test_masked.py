"""``dcs_mask``: compared with loops over positions and channels, and with the toolkit around it."""

import math

import pytest
import torch
from helpers.gather_reference import random_features
from torch import Tensor

from reid_dcs import InputError
from reid_dcs.attention import DCSMask, report_windows, substitute, substitutions
from reid_dcs.models import build_model
from reid_dcs.models.complexity import complexity
from reid_dcs.search import search_parameters

SIZES = [(24, 5, 3), (8, 6, 4)]  # (C, H, W): fewer positions than channels, and more
sizes = pytest.mark.parametrize("size", SIZES, ids=str)
normalizations = pytest.mark.parametrize("normalization", ["positions", "softmax"])


def active_block(channels: int, **options) -> DCSMask:
    torch.manual_seed(0)
    return DCSMask(channels, zero_init=False, **options).double()


def loops(block: DCSMask, x: Tensor, noise: Tensor | None = None) -> Tensor:
    """``(1/N) R X`` or ``softmax(R) X`` of one image (C, H, W), as it is written: (N, C)."""
    tokens = x.flatten(1).T
    weight, bias = block.select.weight[:, :, 0, 0], block.select.bias
    masked = []
    for i, token in enumerate(tokens):
        kept = []
        for p in range(len(token)):
            theta = sum(weight[p, q] * token[q] for q in range(len(token))) + bias[p]
            drawn = theta if noise is None else theta + noise[i, p]
            kept.append(token[p] if 1 / (1 + math.exp(-drawn)) > 0.5 else token[p] * 0)
        masked.append(torch.stack(kept))
    rows = torch.stack([torch.stack([(a * b).sum() for b in masked]) for a in masked])
    if block.normalization == "softmax":
        exponentials = (rows - rows.amax(1, keepdim=True)).exp()
        return exponentials / exponentials.sum(1, keepdim=True) @ tokens
    return rows @ tokens / len(tokens)


def drawn_noise() -> Tensor:
    """Of 8 channels at 6 positions, drawn channel by channel: (1, N, C)."""
    return torch.rand(1, 8, 6, dtype=torch.float64).logit(eps=1e-6).mT


@normalizations
@sizes
def test_in_evaluation_it_is_the_formula(size, normalization):
    block, x = active_block(size[0], normalization=normalization).eval(), random_features(2, *size)
    with torch.no_grad():
        expected = torch.stack([loops(block, image) for image in x])
        torch.testing.assert_close(block.attend_map(x), expected, rtol=1e-10, atol=1e-10)
        assert 0.2 < block.channel_weights(x).mean() < 0.8
        rows = block.affinities(x, range(size[1] * size[2]))
        scale = 1 if normalization == "softmax" else rows.shape[-1]
        attended = rows @ x.flatten(2).mT / scale
        torch.testing.assert_close(attended, expected, rtol=1e-10, atol=1e-10)


@normalizations
def test_in_training_noise_is_added_before_the_threshold(normalization):
    block, x = active_block(8, normalization=normalization), random_features(1, 8, 3, 2)
    torch.manual_seed(3)
    with torch.no_grad():
        found = block.attend_map(x)[0]
    torch.manual_seed(3)
    noise = drawn_noise()[0]
    with torch.no_grad():
        torch.testing.assert_close(found, loops(block, x[0], noise), rtol=1e-10, atol=1e-10)


def test_the_noise_is_the_difference_of_two_gumbels():
    """The frequency of a channel is sigmoid(theta), at any temperature."""
    block = DCSMask(2, temperature=0.3)
    with torch.no_grad():
        block.select.weight.zero_()
        block.select.bias.copy_(torch.tensor([1.2, -0.5]))
    torch.manual_seed(0)
    frequency = block.mask(torch.zeros(4, 2, 80, 80)).mean((0, 1))
    torch.testing.assert_close(frequency, torch.tensor([1.2, -0.5]).sigmoid(), rtol=0, atol=0.01)


def test_the_gradient_passes_straight_through_to_the_sigmoid():
    block, x = active_block(8, temperature=0.7), random_features(1, 8, 3, 2)
    torch.manual_seed(3)
    mask = block.mask(x)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    probe = random_features(*mask.shape, seed=1)
    found = torch.autograd.grad((mask * probe).sum(), block.select.bias)[0]
    torch.manual_seed(3)
    noise = drawn_noise()
    soft = ((block.logits(x) + noise) / 0.7).sigmoid()
    expected = torch.autograd.grad((soft * probe).sum(), block.select.bias)[0]
    torch.testing.assert_close(found, expected)


def test_a_frozen_mask_is_that_of_evaluation_and_still_passes_a_gradient_to_the_features():
    block = active_block(8, temperature=0.7)
    block.select.requires_grad_(False)
    x = random_features(1, 8, 3, 2).requires_grad_()
    mask = block.mask(x)
    assert torch.equal(mask.detach(), block.channel_weights(x))
    probe = random_features(*mask.shape, seed=1)
    found = torch.autograd.grad((mask * probe).sum(), x)[0]
    soft = (block.logits(x) / 0.7).sigmoid()
    torch.testing.assert_close(found, torch.autograd.grad((soft * probe).sum(), x)[0])


def test_the_share_of_a_mask_is_that_of_its_probabilities():
    block, x = active_block(8), random_features(2, 8, 3, 2)
    torch.manual_seed(0)
    drawn = torch.stack([block.mask(x) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(block.expected_share(x), drawn.mean(-1), rtol=0, atol=0.01)
    within = drawn[..., :5].mean(-1)
    torch.testing.assert_close(block.expected_share(x, 5.0), within, rtol=0, atol=0.015)
    assert block.expected_share(x).mean().requires_grad


def test_the_softmax_costs_the_matrix_of_affinities():
    """At 256x128 the first of the four maps has 2048 positions of 24 channels."""
    cost = {
        normalization: complexity(
            build_model("mobilenetv2_dcs_mask", 1, normalization=normalization)
        ).total_macs
        for normalization in ("positions", "softmax")
    }
    shapes = [(64 * 32, 24), (32 * 16, 32), (16 * 8, 96), (16 * 8, 320)]
    saved = sum(2 * n * n * c - min(2 * n * n * c, 2 * n * c * c) for n, c in shapes)
    assert cost["softmax"] - cost["positions"] == saved


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model("mobilenetv2_dcs_mask", 5, zero_init=False).eval()


IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def test_a_report_has_no_windows(network):
    for report in report_windows(network, IMAGES).values():
        assert report.start.shape[-1] == report.length.shape[-1] == 0
        assert 0 < report.selected.mean() < 1


def masks_of(network) -> list[Tensor]:
    found = []
    blocks = [m for m in network.modules() if isinstance(m, DCSMask)]
    hooks = [
        block.register_forward_pre_hook(lambda block, x: found.append(block.mask(x[0])))
        for block in blocks
    ]
    with torch.no_grad():
        network(IMAGES)
    for hook in hooks:
        hook.remove()
    return found


def test_masks_are_substituted(network):
    names = ["all_channels", "shuffled", "random", "removed"]
    assert substitutions(network) == names
    trained = masks_of(network)
    for name in names[:3]:
        first, *_ = masks_of(substitute(network, name, seed=1))
        if name == "all_channels":
            assert first.min() == 1
            continue
        assert not torch.equal(first, trained[0])
        if name == "shuffled":
            counts = [sorted(map(tuple, m[0].tolist())) for m in (first, trained[0])]
        else:
            counts = [m.sum(-1).tolist() for m in (first, trained[0])]
        assert counts[0] == counts[1]
    assert masks_of(substitute(network, "removed")) == []


def test_its_linear_layer_is_searched(network):
    _, windows, logits = search_parameters(network)
    assert len(windows) == 8 and not logits


@pytest.mark.parametrize(
    "options, said",
    [
        ({"normalization": "sum"}, "normalization must be one of"),
        ({"temperature": 0}, "temperature must be a number above 0"),
        ({"mode": "mask"}, "unknown option 'mode'"),
        ({"windows": 2}, "unknown option 'windows'"),
    ],
)
def test_other_options_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        build_model("mobilenetv2_dcs_mask", 5, **options)
