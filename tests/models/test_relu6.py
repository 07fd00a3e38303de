"""Our ReLU6 is PyTorch's, and keeps less."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from reid_dcs import build_model
from reid_dcs.models.relu6 import ReLU6


def before(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What comes before an activation, with values at, between and beyond both bounds."""
    generator = torch.Generator().manual_seed(0)
    x = 5 * torch.randn(4, 8, 6, 5, generator=generator)
    x[0, 0, 0, :4] = torch.tensor([0.0, -0.0, 6.0, float("nan")])
    return x.to(dtype, memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_pytorchs(dtype):
    results = []
    for activation in (ReLU6(), nn.ReLU6()):
        x = before(dtype)
        output = activation(x.clone())
        output.backward(torch.arange(output.numel(), dtype=dtype).view_as(output))
        results.append((output.detach(), x.grad))
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=0, equal_nan=True)
        assert own.stride() == expected.stride()


def test_without_gradients():
    x = before()
    with torch.no_grad():
        torch.testing.assert_close(ReLU6()(x.clone()), nn.ReLU6()(x), equal_nan=True)


def test_it_keeps_the_tensor_it_gives():
    """Which the next convolution keeps anyway."""
    kept = []
    with saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda _: None):
        x = before() * 1
        kept.clear()
        output = ReLU6()(x)
    assert kept == [output.data_ptr()] == [x.data_ptr()]


def test_the_networks_have_it():
    kinds = {type(m) for m in build_model("mobilenetv2_dcs", 2).modules()}
    assert ReLU6 in kinds
    assert nn.ReLU6 not in kinds
