"""Small images, and networks that an untrained initialisation does not make blind to them."""

import pytest
import torch
from torch import Tensor, nn

import reid_dcs

CLASSES = 5


def quick(name: str) -> bool:
    """Every attention on the small backbone, and every backbone with the paper's attention."""
    return name.startswith("mobilenetv2_") and "_200_" not in name or name.endswith("_dcs")


every_model = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if quick(name) else pytest.mark.slow)
        for name in reid_dcs.list_models()
    ],
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
