"""Small images, and untrained networks whose features still depend on them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import reid_dcs

CLASSES = 5
SLOW = (pytest.mark.slow,)
RELEASE = (*SLOW, pytest.mark.release)


def over(
    names: list[str], quick: Callable[[str], bool], rest: Callable[[str], tuple] = lambda name: SLOW
) -> pytest.MarkDecorator:
    """Run a test for every name; those that are not quick become slow tests."""
    marked = [pytest.param(n, marks=() if quick(n) else rest(n)) for n in names]
    return pytest.mark.parametrize("name", marked)


DEEPER = reid_dcs.list_models("fbnetv2_large_*") + reid_dcs.list_models("fbnetv2_xlarge_*")
"""More of the same blocks; minutes for each test file."""


FOUND = reid_dcs.list_models("fbnetv2_synthetic_*")
"""Narrower networks of fbnetv2."""


LARGE = reid_dcs.list_models("convnext_*")
"""Tens of millions of parameters, which take a second to initialize; see test_convnext.py."""


def representative(name: str) -> bool:
    """Whether a name is MobileNetV2 with any attention, or any small backbone with DCS."""
    if name in DEEPER + FOUND + LARGE:
        return False
    return name.endswith("_dcs") or name in reid_dcs.list_models("mobilenetv2_[!2]*")


def _rest(name: str) -> tuple[pytest.MarkDecorator, ...]:
    slow = ("fbnetv2_xlarge_dcs", "resnet50_gsa", "osnet_x1_0_base", "convnext_tiny_dcs")
    return SLOW if name in slow else RELEASE


every_model = over(reid_dcs.list_models(), representative, _rest)
one_model_slow = over(
    reid_dcs.list_models(),
    lambda name: False,
    lambda name: SLOW if name == "mobilenetv2_dcs" else RELEASE,
)


def images(count: int = 4, height: int = 64, width: int = 32) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def active_model(name: str, loss: str = "triplet", seed: int = 0) -> nn.Module:
    """A network whose attention blocks are not the identity at initialization."""
    torch.manual_seed(seed)
    options = {} if name.endswith("_base") else {"zero_init": False}
    return reid_dcs.build_model(name, CLASSES, loss=loss, **options)


def randomize_norms(network: nn.Module) -> nn.Module:
    """Random scales, biases and statistics in every BN, with features that depend on the image."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.7, 1.5)
            norm.bias.normal_(std=0.5)
            norm.momentum = 1.0  # statistics of the batch
        norms[0].bias.uniform_(-2, 7)  # ReLU6 clips at both ends
        network.train()(images())
        for norm in norms:
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(1, 1.6))
    return network


def settle(network: nn.Module) -> nn.Module:
    """Set every BN to the statistics of a batch, so that features differ; in evaluation mode."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.train()
    with torch.no_grad():
        network(images(8))
    return network.eval()


def assert_same_features(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare relative to the largest value, and require features to differ between images."""
    scale = expected.abs().max()
    assert expected.std(0).mean() > 0.01 * scale
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)
