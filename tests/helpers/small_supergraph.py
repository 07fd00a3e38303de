"""A space small enough for every test, and supergraphs in which nothing is at its default."""

import torch
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS
from reid_dcs.models.space import Row, Space
from reid_dcs.search import ReIDSupergraph, search_parameters

KINDS = ("base", *ATTENTIONS)
CLASSES = 5
SMALL = Space(
    "small",
    (
        Row(1, (12, 16, 4), 1, 1),
        Row((0.75, 1.75, 0.5), (16, 24, 4), 2, 2, True),
        Row((0.75, 1.75, 0.5), (12, 28, 8), 2, 2, True),
        Row((0.75, 2.25, 0.75), (24, 40, 8), 2, 1),
        Row((0.75, 2.25, 0.75), (24, 48, 8), 2, 2, True),
    ),
    last=64,
)


def images(count: int = 4, height: int = 64, width: int = 32) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def random_supergraph(kind: str, seed: int = 0, space: Space = SMALL, **options) -> ReIDSupergraph:
    """In evaluation, its logits, windows and BN drawn, its statistics those of a batch."""
    torch.manual_seed(seed)
    options = {} if kind == "base" else {"zero_init": False} | options
    network = ReIDSupergraph(space, kind, CLASSES, **options)
    _, windows, logits = search_parameters(network)
    for parameter in windows + logits:
        nn.init.normal_(parameter)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.5)
            module.momentum = 1.0
            module.train()
    with torch.no_grad():
        network(images(8))
    return network.eval()


@torch.no_grad()
def make_certain(network: ReIDSupergraph) -> None:
    """Leave no doubt about the likeliest option of every choice."""
    for logits in search_parameters(network).logits:
        likeliest = logits.argmax()
        logits.fill_(-torch.inf)[likeliest] = 0
