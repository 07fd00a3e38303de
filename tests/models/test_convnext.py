"""ConvNeXt: torchvision's network exactly, with attention after its stages. Narrow, for speed."""

import pytest
import torch
from helpers.networks import images
from torch import nn
from torchvision.models import ConvNeXt as TorchvisionConvNeXt
from torchvision.models import convnext_tiny
from torchvision.models.convnext import CNBlockConfig

import reid_dcs
from reid_dcs.attention import build_attention
from reid_dcs.models import build_backbone
from reid_dcs.models.backbones.convnext import ConvNeXt

DEPTHS, WIDTHS = (1, 1, 2, 1), (8, 16, 24, 32)


def narrow(attention="base", last_stride=2, **options):
    torch.manual_seed(0)

    def block(channels):
        return nn.Identity() if attention == "base" else build_attention(attention, channels)

    return ConvNeXt(block, DEPTHS, WIDTHS, last_stride, **options)


def donor():
    torch.manual_seed(1)
    following = (*WIDTHS[1:], None)
    settings = [CNBlockConfig(*each) for each in zip(WIDTHS, following, DEPTHS, strict=True)]
    network = TorchvisionConvNeXt(settings, num_classes=5, layer_scale=0.5).eval()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network


@pytest.mark.parametrize("attention", ["base", "sa", "dcs"])
def test_inherited_weights_give_torchvisions_logits(attention):
    """Attention starts as the identity."""
    network, backbone = donor(), narrow(attention).eval()
    backbone.inherit(network)
    x = images(4, 64, 96)
    with torch.no_grad():
        found = network.classifier[2](backbone.embed(backbone(x).mean((2, 3))))
        expected = network(x)
    assert expected.std(0).min() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_follows_each_stage_and_the_next_stage_reads_it():
    backbone = narrow("dcs").eval()
    backbone.inherit(donor())
    for block in backbone.attentions:
        nn.init.ones_(block.norm.weight)
    maps = backbone.forward_stages(images(2, 64, 64))
    x, features = images(2, 64, 64), backbone.features
    for i, found in enumerate(maps):
        x = backbone.attentions[i](features[2 * i + 1](features[2 * i](x)))
        torch.testing.assert_close(found, x)
    assert [m.shape[1:] for m in maps] == [(8, 16, 16), (16, 8, 8), (24, 4, 4), (32, 2, 2)]


def test_a_last_stride_of_1_computes_the_same_maps_four_times_as_densely():
    dense, sparse = narrow(last_stride=1).eval(), narrow(last_stride=2).eval()
    dense.inherit(donor())
    sparse.inherit(donor())
    reduced = donor().features[:6](images(1, 64, 64))  # (1, 24, 4, 4)
    with torch.no_grad():
        maps = dense.features[6](reduced)
        assert maps.shape == (1, 32, 4, 4)
        torch.testing.assert_close(maps[..., ::2, ::2], sparse.features[6](reduced))
        assert dense(images(1, 64, 64)).shape == (1, 32, 4, 4)
    assert (dense.stage_strides, sparse.stage_strides) == ([4, 8, 16, 16], [4, 8, 16, 32])


def test_stochastic_depth_rises_to_the_given_rate_and_ends_in_evaluation():
    backbone = narrow(drop_path=0.4)
    rates = [m.p for m in backbone.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    backbone.eval()
    assert torch.equal(backbone(images(1)), backbone(images(1)))
    for wrong in (1, -0.1, "0.1"):
        with pytest.raises(ValueError, match="drop_path"):
            narrow(drop_path=wrong)


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet50", "osnet_x1_0", "fbnetv2", "convnext"])
def test_the_modules_of_the_stages_are_all_of_a_backbone(name):
    backbone = narrow("sa") if name == "convnext" else build_backbone(name, "sa")
    groups = backbone.stage_modules()
    assert len(groups) == len(backbone.stage_channels)
    listed = [p for group in groups for module in group for p in module.parameters()]
    listed += backbone.attentions.parameters()
    for part in backbone.after_stages:
        listed += backbone.get_submodule(part).parameters()
    assert sorted(map(id, listed)) == sorted(map(id, backbone.parameters()))


@pytest.mark.slow
def test_a_file_of_torchvisions_whole_network_gives_a_re_id_networks_features(tmp_path):
    torch.manual_seed(0)
    network = convnext_tiny().eval()
    torch.save(network.state_dict(), tmp_path / "convnext.pth")
    model = reid_dcs.build_model(
        "convnext_tiny_dcs", 5, pretrained=str(tmp_path / "convnext.pth"), last_stride=2
    ).eval()
    model.neck, network.classifier[2] = nn.Identity(), nn.Identity()
    x = images(2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), network(x), rtol=1e-4, atol=1e-5)
