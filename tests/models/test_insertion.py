"""Attention inserted into networks of torchvision and torchreid."""

import copy

import pytest
import torch
from helpers.networks import images, settle
from torch import nn
from torchreid import models as torchreid_models
from torchvision.models import VisionTransformer, convnext_tiny, resnet18, swin_t

from reid_dcs.attention import ATTENTIONS, AttentionBlock
from reid_dcs.models import with_attention

RESNET18 = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}

NETWORKS = {  # a network, and the channels after some of its modules
    "convnext_tiny": (
        convnext_tiny,
        {"features.1": 96, "features.3": 192, "features.5": 384, "features.7": 768},
    ),
    "resnet18": (resnet18, RESNET18),
    "osnet_ain_x1_0": (
        lambda: torchreid_models.build_model("osnet_ain_x1_0", 7, pretrained=False),
        {"conv2": 256, "conv3": 384, "conv4": 512, "conv5": 512},
    ),
}


def build(name: str) -> tuple[nn.Module, dict[str, int]]:
    torch.manual_seed(0)
    network, channels = NETWORKS[name]
    return network(), channels


def logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_blocks_follow_the_named_modules(name):
    network, channels = build(name)
    before = settle(copy.deepcopy(network))
    attended = with_attention(network, list(channels), windows=3)
    assert attended is network
    for module, count in channels.items():
        block = network.get_submodule(module).attention
        assert (type(block), block.channels) == (ATTENTIONS["dcs"], count)
        start, _ = block.windows(torch.zeros(1, count, 2, 2))
        assert start.shape == (1, 4, 3)
    x = images(2)
    expected = logits(before, x)
    torch.testing.assert_close(logits(settle(network), x), expected)  # the blocks are the identity
    for block in network.modules():
        if isinstance(block, AttentionBlock):
            nn.init.ones_(block.norm.weight)
    assert not torch.allclose(logits(network, x), expected, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "dcs") for name in NETWORKS), *(("resnet18", k) for k in ATTENTIONS if k != "dcs")],
)
def test_every_kind_trains(name, kind):
    network, channels = build(name)
    with_attention(network, list(channels), kind, zero_init=False)
    output = network.train()(images(2))
    output.square().sum().backward()
    blocks = [m for m in network.modules() if isinstance(m, AttentionBlock)]
    assert len(blocks) == 4
    for block in blocks:
        for parameter in block.parameters():
            assert parameter.grad.count_nonzero() > 0


def test_mode_and_statistics_of_the_network_do_not_change():
    network = resnet18().train()
    network.layer2.eval()
    statistics = network.bn1.running_mean.clone()
    with_attention(network, ["layer1", "layer2"])
    assert torch.equal(network.bn1.running_mean, statistics)
    assert network.training and network.layer1.attention.training
    assert not network.layer2.attention.training
    assert not any(module._forward_hooks for module in network.modules())


def test_the_blocks_have_the_dtype_of_the_network():
    network = with_attention(resnet18().double(), ["layer1"])
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert network(images(1).double()).dtype == torch.float64


def test_a_module_and_one_inside_it():
    network = with_attention(resnet18(), ["layer1", "layer1.0"])
    names = {n for n, m in network.named_modules() if isinstance(m, AttentionBlock)}
    assert names == {"layer1.attention", "layer1.stage.0.attention"}


def test_a_single_name_is_accepted():
    assert with_attention(resnet18(), "layer4").layer4.attention.channels == 512


def vit() -> nn.Module:
    """Accepts only 32x32 images; its tokens are (B, 5, 8)."""
    return VisionTransformer(32, 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)


def test_another_size_of_images():
    network = vit()
    message = error_message(network, ["conv_proj"])
    assert "(3, 256, 128)" in message
    assert "input_size" in message
    with_attention(network, ["conv_proj"], input_size=(3, 32, 32))
    assert network(images(1, 32, 32)).shape == (1, 1000)


def test_a_module_with_more_arguments_than_a_tensor():
    class Scaled(nn.Conv2d):
        def forward(self, x, factor, *, offset):
            return factor * super().forward(x) + offset

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.scaled = Scaled(3, 4, 1)

        def forward(self, x):
            return self.scaled(x, 2, offset=1)

    network, x = Network(), images(1)
    expected = network(x)
    torch.testing.assert_close(with_attention(network, ["scaled"]).eval()(x), expected)


# --- refusals ------------------------------------------------------------------------------------


def error_message(network: nn.Module, after: list[str], *args, **options) -> str:
    before = str(network)
    with pytest.raises(ValueError) as caught:
        with_attention(network, after, *args, **options)
    assert str(network) == before  # unchanged
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_name_is_refused_with_the_closest_one():
    message = error_message(resnet18(), ["layer1", "layr2"])
    assert "'layr2'" in message
    assert "layer2" in message
    assert "'zzz'" in error_message(resnet18(), ["zzz"])
    assert "''" in error_message(resnet18(), [""])
    assert "twice" in error_message(resnet18(), ["layer1", "layer1"])


def test_a_module_that_returns_no_map_is_refused():
    assert "(1, 5, 8)" in error_message(vit(), ["encoder"], input_size=(3, 32, 32))
    message = error_message(resnet18(), ["layer1", "fc"])
    assert "'fc'" in message
    assert "(1, 1000)" in message

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.idle = Pair(), nn.Conv2d(3, 3, 1)
            self.twice = nn.Upsample(scale_factor=1)

        def forward(self, x):
            self.twice(self.pair(x)[0])
            return self.twice(x[:, :2])

    assert "'pair' returns no tensor" in error_message(Network(), ["pair"])
    assert "'idle' does not run" in error_message(Network(), ["idle"])
    assert "different channels: [2, 3]" in error_message(Network(), ["twice"])


def test_unknown_kinds_and_bad_options_are_refused():
    assert "nonsense" in error_message(resnet18(), ["layer1"], "nonsense")
    assert "windows" in error_message(resnet18(), ["layer1"], windows=0)
    with pytest.raises(TypeError, match="color"):
        with_attention(resnet18(), ["layer1"], color=3)


def test_a_module_that_returns_channels_last_is_refused():
    message = error_message(swin_t(), ["features.1"])
    assert "'features.1'" in message and "(B, C, H, W)" in message


def test_a_block_that_would_not_run_is_refused():
    assert "no module" in error_message(resnet18(), [])
    network = resnet18()
    network.alias = network.layer1
    assert "'layer1'" in error_message(network, ["alias"])
    assert "'alias'" in error_message(network, ["layer1"])
