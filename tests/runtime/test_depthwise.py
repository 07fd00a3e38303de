"""Depthwise convolutions that stay in float32: which, and with what result."""

import pytest
import torch
from torch import nn

from reid_dcs import build_model
from reid_dcs.runtime import precision
from reid_dcs.runtime.depthwise import DepthwiseInFloat32


def convolve(size=(8, 4), **options):
    """A convolution of eight channels under autocast: input, its module and its output."""
    convolution = nn.Conv2d(8, 8, **({"kernel_size": 3, "padding": 1, "groups": 8} | options))
    images = torch.randn(2, 8, *size).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), DepthwiseInFloat32():
        return images, convolution, convolution(images)


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"stride": (1, 2)},
        {"kernel_size": 5, "padding": 2},
        {"size": (2, 1)},
        {"stride": 2, "padding_mode": "reflect"},
    ],
)
def test_convolutions_without_a_fast_gradient_stay_in_float32(changes):
    torch.manual_seed(0)
    images, convolution, output = convolve(**changes)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, convolution(images), rtol=0, atol=0)
    gradient = torch.randn_like(output)
    inputs = images, convolution.weight
    torch.testing.assert_close(
        torch.autograd.grad(output, inputs, gradient),
        torch.autograd.grad(convolution(images), inputs, gradient),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("changes", [{}, {"groups": 1, "stride": 2}, {"groups": 2, "stride": 2}])
def test_other_convolutions_are_in_bfloat16(changes):
    assert convolve(**changes)[2].dtype == torch.bfloat16


def test_without_gradients_all_are_in_bfloat16():
    with torch.no_grad():
        assert convolve(stride=2)[2].dtype == torch.bfloat16


def test_a_map_in_bfloat16_is_taken_to_float32():
    convolution = nn.Conv2d(8, 8, 3, 2, 1, groups=8)
    images = torch.randn(2, 8, 8, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), DepthwiseInFloat32():
        output = convolution(images)
    torch.testing.assert_close(output, convolution(images.float()), rtol=0, atol=0)


def test_a_training_in_bfloat16_uses_it(monkeypatch):
    monkeypatch.setattr(precision, "_best", lambda device: "bfloat16")
    kept = set()
    network = build_model("mobilenetv2_base", 4).train()

    def look(module, inputs, output):
        if output.dtype == torch.float32:
            kept.add((module.stride, module.groups == module.in_channels))

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    with precision.Precision("auto", torch.device("cpu")).autocast():
        network(torch.randn(2, 3, 128, 64))
    assert kept == {((2, 2), True)}
