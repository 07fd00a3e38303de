"""Backbones: rows of Tables 4 to 6, places of the attention, strides, maps for a pyramid."""

import pytest
import torch
from helpers.networks import CLASSES, images, over
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

import reid_dcs
from reid_dcs.attention import AttentionBlock
from reid_dcs.models import build_backbone
from reid_dcs.models.backbones.bottleneck import Bottleneck
from reid_dcs.models.registry import KINDS


def outputs(model: nn.Module, **kinds: type[nn.Module]) -> list[tuple]:
    """Kind, channels, height and width of the modules' outputs for a 256x128 image, in order."""
    seen = []
    for module in model.modules():
        for kind, cls in kinds.items():
            if isinstance(module, cls):
                module.register_forward_hook(
                    lambda m, i, output, kind=kind: seen.append((kind, *output.shape[1:]))
                )
    with torch.no_grad():
        maps = model.eval()(torch.zeros(1, 3, 256, 128), return_featuremaps=True)
    return [*seen, ("maps", *maps.shape[1:])]


TABLE_4 = [  # channels, n of MobileNetV2, n of MobileNetV2-200, height, DCS after it
    (16, 1, 1, 128, False),
    (24, 2, 3, 64, True),
    (32, 3, 21, 32, True),
    (64, 4, 19, 16, False),
    (96, 3, 18, 16, True),
    (160, 3, 3, 16, False),
    (320, 1, 1, 16, True),
]


@pytest.mark.parametrize(("name", "column"), [("mobilenetv2", 1), ("mobilenetv2_200", 2)])
def test_mobilenetv2_runs_the_rows_of_table_4_in_order(name, column):
    model = reid_dcs.build_model(f"{name}_dcs", CLASSES)
    expected = []
    for row in TABLE_4:
        shape = (row[0], row[3], row[3] // 2)
        expected += [("bottleneck", *shape)] * row[column] + [("attention", *shape)] * row[4]
    seen = outputs(model, bottleneck=InvertedResidual, attention=AttentionBlock)
    assert seen == [*expected, ("maps", 1280, 16, 8)]


@pytest.mark.parametrize(("name", "layers"), [("mobilenetv2", 53), ("mobilenetv2_200", 200)])
def test_mobilenetv2_has_the_convolutions_that_the_paper_counts(name, layers):
    base = reid_dcs.build_model(f"{name}_base", CLASSES)
    assert sum(isinstance(m, nn.Conv2d) for m in base.trunk.modules()) == layers


TABLES_5_AND_6 = [  # widest filters, n of FBNetV2, of the two larger ones, height, DCS after it
    (16, 1, 1, 1, 128, False),
    (28, 1, 1, 1, 64, False),
    (28, 2, 6, 12, 64, True),
    (40, 1, 3, 6, 32, False),
    (40, 2, 6, 12, 32, True),
    (96, 1, 3, 6, 16, False),
    (96, 2, 6, 12, 16, False),
    (128, 4, 12, 24, 16, True),
    (216, 1, 3, 6, 8, False),
    (216, 3, 3, 6, 8, True),
]


@pytest.mark.parametrize(
    ("name", "column"), [("fbnetv2", 1), ("fbnetv2_large", 2), ("fbnetv2_xlarge", 3)]
)
def test_the_largest_fbnetv2_runs_the_rows_of_its_table_in_order(name, column):
    model = reid_dcs.build_model(f"{name}_dcs", CLASSES)
    expected = []
    for row in TABLES_5_AND_6:
        shape = (row[0], row[4], row[4] // 2)
        expected += [("bottleneck", *shape)] * row[column] + [("attention", *shape)] * row[5]
    seen = outputs(model, bottleneck=Bottleneck, attention=AttentionBlock)
    assert seen == [*expected, ("maps", 1984, 8, 4)]


def test_osnet_attends_after_conv2_to_conv5():
    assert outputs(reid_dcs.build_model("osnet_x1_0_dcs", CLASSES), attention=AttentionBlock) == [
        ("attention", 256, 32, 16),
        ("attention", 384, 16, 8),
        ("attention", 512, 16, 8),
        ("attention", 512, 16, 8),
        ("maps", 512, 16, 8),
    ]


def test_resnet50_attends_after_its_four_stages_and_its_last_stride_is_1():
    assert outputs(reid_dcs.build_model("resnet50_dcs", CLASSES), attention=AttentionBlock) == [
        ("attention", 256, 64, 32),
        ("attention", 512, 32, 16),
        ("attention", 1024, 16, 8),
        ("attention", 2048, 16, 8),
        ("maps", 2048, 16, 8),
    ]


ATTENDED = [n for n in reid_dcs.list_models() if not n.endswith("_base")]


@over(ATTENDED, lambda name: not name.startswith("convnext") or name == "convnext_tiny_dcs")
def test_every_network_has_four_attention_blocks(name):
    """ "A DCS module is inserted after each of its four stages" (Section 3.1)."""
    with torch.device("meta"):
        model = reid_dcs.build_model(name, CLASSES)
    assert sum(isinstance(module, AttentionBlock) for module in model.modules()) == 4


# --- build_backbone ------------------------------------------------------------------------------

STAGES = {  # channels and strides of the attended stages at the default stride, out_channels
    "mobilenetv2": ([24, 32, 96, 320], [4, 8, 16, 16], 1280),
    "mobilenetv2_200": ([24, 32, 96, 320], [4, 8, 16, 16], 1280),
    "osnet_x1_0": ([256, 384, 512, 512], [8, 16, 16, 16], 512),
    "resnet50": ([256, 512, 1024, 2048], [4, 8, 16, 16], 2048),
    "convnext_tiny": ([96, 192, 384, 768], [4, 8, 16, 16], 768),
    "fbnetv2": ([28, 40, 128, 216], [4, 8, 16, 32], 1984),
    "fbnetv2_large": ([28, 40, 128, 216], [4, 8, 16, 32], 1984),
    "fbnetv2_xlarge": ([28, 40, 128, 216], [4, 8, 16, 32], 1984),
}
SLOW_STAGES = ("fbnetv2_large", "fbnetv2_xlarge", "convnext_tiny")


def maps_of(backbone, height, width):
    with torch.no_grad():
        x = images(1, height, width)
        return backbone.eval().forward_stages(x), backbone(x)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW_STAGES)) for n in STAGES]
)
@pytest.mark.parametrize("attention", ["base", "dcs"])
def test_stages_have_the_stated_channels_and_strides(name, attention):
    backbone = build_backbone(name, attention)
    assert (backbone.stage_channels, backbone.stage_strides, backbone.out_channels) == STAGES[name]
    for height, width in ((96, 64), (101, 50)):
        maps, last = maps_of(backbone, height, width)
        assert [m.shape[1] for m in maps] == backbone.stage_channels
        strides = [*backbone.stage_strides, backbone.stage_strides[-1]]
        for m, stride in zip([*maps, last], strides, strict=True):
            for side, whole in zip(m.shape[2:], (height, width), strict=True):
                assert side in (whole // stride, -(-whole // stride))
        last_layer = getattr(backbone, "last", nn.Identity()).eval()
        torch.testing.assert_close(last, last_layer(maps[-1]))


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet50", "osnet_x1_0", "fbnetv2"])
def test_maps_of_stages_are_the_outputs_of_the_attention(name):
    backbone, outputs = build_backbone(name, "dcs", zero_init=False), []
    for module in backbone.modules():
        if isinstance(module, AttentionBlock):
            module.register_forward_hook(lambda m, i, output: outputs.append(output))
    maps = backbone.forward_stages(images(2, 64, 32))
    assert [id(m) for m in maps] == [id(output) for output in outputs]


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("mobilenetv2", {1: [4, 8, 16, 16], 2: [4, 8, 16, 32]}),
        ("resnet50", {1: [4, 8, 16, 16], 2: [4, 8, 16, 32]}),
        ("fbnetv2", {1: [4, 8, 16, 16], 2: [4, 8, 16, 32]}),
        ("osnet_x1_0", {1: [8, 16, 16, 16]}),
    ],
)
def test_the_last_stride_is_that_of_the_last_map_and_changes_no_weight(name, strides):
    weights = {k: v.shape for k, v in build_backbone(name).state_dict().items()}
    for last_stride, expected in strides.items():
        backbone = build_backbone(name, last_stride=last_stride)
        assert backbone.stage_strides == expected
        maps, last = maps_of(backbone, 64, 32)
        assert [64 // m.shape[2] for m in maps] == expected
        assert last.shape[2:] == maps[-1].shape[2:]
        assert {k: v.shape for k, v in backbone.state_dict().items()} == weights


def test_a_model_has_the_backbone_that_is_built_by_default():
    for name in STAGES:
        with torch.device("meta"):
            model, backbone = reid_dcs.build_model(f"{name}_sa", 5), build_backbone(name, "sa")
        assert repr(model.trunk) == repr(backbone)


def test_last_stride_is_an_option_of_a_model():
    model = reid_dcs.build_model("mobilenetv2_dcs", CLASSES, last_stride=2)
    assert model(images(2, 64, 32), return_featuremaps=True).shape == (2, 1280, 2, 1)


def error_message(*args, **options) -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        build_backbone(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_names_and_options_are_refused_with_the_closest_ones():
    assert "did you mean mobilenetv2" in error_message("mobilenet_v2")
    assert "did you mean resnet50?" in error_message("resnet50_dcs")
    assert "known: mobilenetv2, " in error_message("zzz")
    assert f"known: {', '.join(KINDS)}" in error_message("resnet50", "nonsense")
    assert "did you mean dcs_sw" in error_message("resnet50", "dcs-sw")
    message = error_message("resnet50", "dcs", windos=1)
    assert "resnet50" in message and "did you mean windows?" in message
    assert "windows" in error_message("resnet50", "dcs", windows=0)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv2_200", "resnet50", "fbnetv2"])
@pytest.mark.parametrize("last_stride", [0, 3, 2.0, "2"])
def test_other_last_strides_are_refused(name, last_stride):
    assert "last_stride must be 1 or 2" in error_message(name, last_stride=last_stride)


def test_osnet_has_one_last_stride():
    assert "OSNet does not downsample after conv3" in error_message("osnet_x1_0", last_stride=2)
