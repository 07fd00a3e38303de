"""What runs where: the rows of Table 4, and the attention after the stages of the others."""

import pytest
import torch
from helpers.networks import CLASSES
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

import reid_dcs
from reid_dcs.attention import WindowedAttention
from reid_dcs.models.backbones.bottleneck import Bottleneck


def outputs(model: nn.Module, **kinds: type[nn.Module]) -> list[tuple]:
    """Kind, channels, height and width of what modules give to a 256x128 image, in order."""
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
    seen = outputs(model, bottleneck=InvertedResidual, attention=WindowedAttention)
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
    seen = outputs(model, bottleneck=Bottleneck, attention=WindowedAttention)
    assert seen == [*expected, ("maps", 1984, 8, 4)]


def test_osnet_attends_after_conv2_to_conv5():
    assert outputs(
        reid_dcs.build_model("osnet_x1_0_dcs", CLASSES), attention=WindowedAttention
    ) == [
        ("attention", 256, 32, 16),
        ("attention", 384, 16, 8),
        ("attention", 512, 16, 8),
        ("attention", 512, 16, 8),
        ("maps", 512, 16, 8),
    ]


def test_resnet50_attends_after_its_four_stages_and_its_last_stride_is_1():
    assert outputs(reid_dcs.build_model("resnet50_dcs", CLASSES), attention=WindowedAttention) == [
        ("attention", 256, 64, 32),
        ("attention", 512, 32, 16),
        ("attention", 1024, 16, 8),
        ("attention", 2048, 16, 8),
        ("maps", 2048, 16, 8),
    ]


@pytest.mark.parametrize("name", [n for n in reid_dcs.list_models() if not n.endswith("_base")])
def test_every_network_has_four_attention_blocks(name):
    """ "A DCS module is inserted after each of its four stages" (Section 3.1)."""
    with torch.device("meta"):
        model = reid_dcs.build_model(name, CLASSES)
    assert sum(isinstance(module, WindowedAttention) for module in model.modules()) == 4
