"""Counts against formulas by hand, and the reproducible rows of Table 1."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import reid_dcs
from reid_dcs.attention import build_attention
from reid_dcs.models.complexity import complexity
from reid_dcs.runtime.hooks import probe


def test_a_small_network_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # 16x8
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    positions = 16 * 8
    convolutions = positions * (27 * 8 + 9 * 8)
    assert complexity(network, (3, 32, 16)) == (
        27 * 8 + 2 * 8 + 9 * 8 + 8 + 8 * 5 + 5,
        convolutions,
        convolutions + 8 * 5,
        convolutions + positions * 8 * (4 + 1 + 1),
    )


@pytest.mark.parametrize("positions", [(4, 4), (16, 16)])
def test_affinity_products_are_counted_in_their_cheaper_order(positions):
    c, n = 64, positions[0] * positions[1]
    block = build_attention("dcs", c, windows=1)
    counted = complexity(block, (c, *positions))
    assert counted.conv_macs == n * (9 * c + 2 * c)
    assert counted.total_macs - counted.conv_macs == min(2 * n * n * c, 2 * n * c * c)


def test_a_second_call_of_a_module_is_counted_too():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(self.conv(self.norm(self.conv(x))))

    assert complexity(Twice(), (3, 4, 4)) == (9 + 6, 2 * 16 * 9, 2 * 16 * 9, 2 * 16 * (9 + 4 * 3))


def test_the_head_is_not_counted():
    """In our networks and torchreid's, for any number of classes."""
    few, many = (complexity(reid_dcs.build_model("osnet_x1_0", n), (3, 64, 32)) for n in (2, 99))
    assert few == many
    for name in ("mobilenetv2_base", "mobilenetv2_dcs"):
        model = reid_dcs.build_model(name, 99)
        assert complexity(model, (3, 64, 32)) == complexity(model.trunk, (3, 64, 32))


def test_our_osnet_counts_as_torchreids():
    ours = complexity(reid_dcs.build_model("osnet_x1_0_base", 5), (3, 64, 32))
    theirs = complexity(reid_dcs.build_model("osnet_x1_0", 5), (3, 64, 32))
    pooled = 512 * 4 * 2  # its global pooling, which in ours belongs to the head
    assert ours[:3] == theirs[:3]
    assert ours.paper_flops == theirs.paper_flops - pooled


def test_with_relu6_mobilenetv2_would_miss_table_1():
    model = reid_dcs.build_model("mobilenetv2_base", 5)
    counted, elements = complexity(model).paper_flops, 0

    def count_relu6(name, module, inputs, output):
        nonlocal elements
        elements += output.numel() if isinstance(module, nn.ReLU6) else 0

    probe(model, (3, 256, 128), count_relu6)
    assert (round(counted / 1e9, 3), round((counted + elements) / 1e9, 3)) == (0.380, 0.385)


def test_the_network_does_not_change():
    network = resnet18().train()
    network.layer1.eval()
    state = {k: v.clone() for k, v in network.state_dict().items()}
    complexity(network, (3, 64, 32))
    assert network.training and not network.layer1.training and network.layer2[0].bn1.training
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


MEASURED = [  # millions of parameters, conv G, paper G; windows=1
    ("mobilenetv2_base", 256, 2.2250, 0.3584, 0.3801),
    ("mobilenetv2_dcs", 256, 2.2311, 0.3597, 0.3819),
    ("mobilenetv2_200_base", 256, 5.0892, 0.8276, 0.8832),
    ("mobilenetv2_dcs", 384, 2.2311, 0.5395, 0.5728),
    ("mobilenetv2_200_dcs", 384, 5.0954, 1.2434, 1.3275),
    ("osnet_x1_0_base", 256, 2.1695, 0.979, 1.020),
    ("resnet50_dcs", 384, 23.558, 6.099, 6.168),
]


@pytest.mark.parametrize(("name", "height", "params", "conv", "paper"), MEASURED)
def test_measured_rows_to_three_digits(name, height, params, conv, paper):
    options = {"windows": 1} if name.endswith("_dcs") else {}
    counted = complexity(reid_dcs.build_model(name, 5, **options), (3, height, 128))
    assert counted.params / 1e6 == pytest.approx(params, rel=5e-4)
    assert counted.conv_macs / 1e9 == pytest.approx(conv, rel=5e-4)
    assert counted.paper_flops / 1e9 == pytest.approx(paper, rel=1e-3)
