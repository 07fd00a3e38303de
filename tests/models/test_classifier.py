"""Classification networks: with torchvision's weights they return torchvision's logits."""

import copy

import pytest
import torch
from helpers.networks import assert_same_features, images, randomize_norms
from torch import nn
from torchvision.models import mobilenet_v2, resnet50

import reid_dcs
from reid_dcs.models import Backbone, ClassificationNetwork, build_backbone
from reid_dcs.models.backbones.bottleneck import convolution

TWINS = {
    "mobilenetv2": (lambda: mobilenet_v2(num_classes=7), "classifier"),
    "resnet50": (lambda: resnet50(num_classes=7), "fc"),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("attention", ["base", "dcs"])
def test_features_and_logits_are_torchvisions(name, attention, tmp_path):
    """With a last stride of 2 and attention blocks that are the identity."""
    torch.manual_seed(0)
    build, head = TWINS[name]
    twin = randomize_norms(build()).eval()
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    backbone = build_backbone(name, attention, last_stride=2)
    backbone.load_pretrained(tmp_path / "twin.pth")
    network = ClassificationNetwork(backbone, 7).eval()
    linear = [m for m in twin.modules() if isinstance(m, nn.Linear)][-1]
    network.classifier.load_state_dict(linear.state_dict())

    x = images(height=96).double()
    with torch.no_grad():
        assert_same_features(network.double()(x), twin.double()(x), 1e-5)
        headless = copy.deepcopy(twin)
        setattr(headless, head, nn.Identity())
        assert_same_features(backbone(x).mean((2, 3)), headless(x), 1e-5)


class Tiny(Backbone):
    """One convolution, and a layer between pooling and head."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.out_channels, self.dropout = 4, dropout
        self.stage_channels, self.stage_strides = [4], [2]
        self.attentions = nn.ModuleList([nn.Identity()])
        self.stage = convolution(3, 4, kernel_size=3, stride=2)

    def forward_stages(self, x):
        return self.run_stages(x, [self.stage])

    def embed(self, pooled):
        return 2 * pooled


def test_logits_are_linear_in_the_pooled_and_embedded_map():
    network, x = ClassificationNetwork(Tiny(0.0), 5).eval(), images()
    nn.init.normal_(network.classifier.bias)
    pooled = network.trunk.stage(x).mean((2, 3))
    expected = 2 * pooled @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(network(x), expected)


def test_dropout_is_that_of_the_published_network_unless_given():
    assert build_backbone("mobilenetv2").dropout == mobilenet_v2().classifier[0].p == 0.2
    assert build_backbone("resnet50").dropout == 0
    x = images()
    for network, drops in (
        (ClassificationNetwork(Tiny(0.5), 5), True),
        (ClassificationNetwork(Tiny(0.5), 5, dropout=0.0), False),
    ):
        network.trunk.eval()
        assert torch.equal(network(x), network(x)) != drops
        network.eval()
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", ["mobilenetv2", "osnet_x1_0", "fbnetv2"])
def test_a_training_step_reaches_every_parameter(name):
    network = ClassificationNetwork(build_backbone(name, "dcs", zero_init=False), 5).train()
    nn.functional.cross_entropy(network(images()), torch.arange(4)).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.count_nonzero(), parameter_name


def test_backbone_weights_have_the_names_of_a_reid_network():
    """A network trained to classify can start a Re-ID network."""
    network = ClassificationNetwork(build_backbone("mobilenetv2"), 5)
    reid = reid_dcs.build_model("mobilenetv2_dcs", 3)
    ours, theirs = (
        {k for k in net.state_dict() if k.startswith("trunk.")} for net in (network, reid)
    )
    assert ours == theirs
