"""Small images, and networks that an untrained initialisation does not make blind to them."""

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
    """Run a test for every name, those that are not quick only among the slow tests."""
    marked = [pytest.param(n, marks=() if quick(n) else rest(n)) for n in names]
    return pytest.mark.parametrize("name", marked)


DEEPER = reid_dcs.list_models("fbnetv2_large_*") + reid_dcs.list_models("fbnetv2_xlarge_*")
"""More of the same blocks, at minutes a test file."""


def representative(name: str) -> bool:
    """Every attention on the small backbone, and every backbone with the paper's attention."""
    if name in DEEPER:
        return False
    return name.endswith("_dcs") or name in reid_dcs.list_models("mobilenetv2_[!2]*")


def _rest(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return SLOW if name in ("fbnetv2_xlarge_dcs", "resnet50_gsa", "osnet_x1_0_base") else RELEASE


every_model = over(reid_dcs.list_models(), representative, _rest)
every_model_one_quick = over(
    reid_dcs.list_models(), lambda name: name == "mobilenetv2_dcs", lambda name: RELEASE
)
one_model_slow = over(
    reid_dcs.list_models(),
    lambda name: False,
    lambda name: SLOW if name == "mobilenetv2_dcs" else RELEASE,
)


def images(count: int = 4, height: int = 64, width: int = 32) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def active_model(name: str, loss: str = "triplet", seed: int = 0) -> nn.Module:
    """A network whose attention, if any, is not the identity."""
    torch.manual_seed(seed)
    options = {} if name.endswith("_base") else {"zero_init": False}
    return reid_dcs.build_model(name, CLASSES, loss=loss, **options)


def settle(network: nn.Module) -> nn.Module:
    """In evaluation, every BN with the statistics of a batch, so that images are told apart."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.train()
    with torch.no_grad():
        network(images(8))
    return network.eval()


def assert_same_features(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """To a fraction of the largest, and they follow the images."""
    scale = expected.abs().max()
    assert expected.std(0).mean() > 0.01 * scale
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)
