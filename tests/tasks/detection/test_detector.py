"""Whole detectors: names, torchvision's contract, Table 2's counts, and what DCS does to them."""

import subprocess
import sys

import pytest
import torch
from helpers.detection import activate, random_images, small_detector, target
from helpers.paths import REPOSITORY
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from reid_dcs import InputError
from reid_dcs.attention import ATTENTIONS, build_attention
from reid_dcs.attention.block import AttentionBlock
from reid_dcs.models.backbones.convnext import ConvNeXt
from reid_dcs.tasks.detection import build_detector
from reid_dcs.tasks.detection.network.counting import detector_complexity
from reid_dcs.tasks.detection.network.detector import FEWEST_SAMPLES
from reid_dcs.tasks.detection.network.pyramid import Pyramid

PUBLISHED = {  # ConvNeXt's Table 3, Cascade Mask R-CNN: M parameters, G FLOPs
    "convnext_tiny": (86, 741),
    "convnext_small": (108, 827),
    "convnext_base": (146, 964),
}


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(n, marks=[pytest.mark.slow] * (n != "convnext_tiny")) for n in PUBLISHED],
)
def test_the_counts_of_table_2(backbone):
    with torch.device("meta"):
        cost = detector_complexity(build_detector(f"{backbone}_base", 80))
    params, flops = PUBLISHED[backbone]
    assert cost.params / 1e6 == pytest.approx(params, rel=0.005)
    assert cost.mmdet_flops / 1e9 == pytest.approx(flops, rel=0.005)
    assert cost.affinity_macs == 0


def test_attention_is_counted_with_its_affinity_products():
    with torch.device("meta"):
        base, dcs = (
            detector_complexity(build_detector(f"mobilenetv2_{kind}", 80), 320, 512)
            for kind in ("base", "dcs")
        )
    channels, positions = (24, 32, 96, 320), (80 * 128, 40 * 64, 20 * 32, 10 * 16)
    assert dcs.params - base.params == sum(9 * c + 2 * c + 4 * c + 4 for c in channels)
    affinity = sum(
        min(2 * n * c * c, 2 * n * n * c) for n, c in zip(positions, channels, strict=True)
    )
    assert dcs.affinity_macs == affinity
    of_layers = sum(n * c * (9 + 4 + 2) for n, c in zip(positions, channels, strict=True))
    assert dcs.mmdet_flops - base.mmdet_flops == of_layers


def test_torchvisions_contract():
    detector = small_detector(num_classes=4)
    images = random_images((60, 90), (100, 50))
    targets = [target(60, 90, (4, 4, 6, 40, 50)), target(100, 50)]
    losses = detector.train()(images, targets)
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    found = activate(detector).eval()(images)
    for image, each in zip(images, found, strict=True):
        count = len(each["scores"])
        assert 0 < count <= 100
        assert each["boxes"].shape == (count, 4)
        assert each["masks"].shape == (count, 1, *image.shape[1:])
        assert set(each["labels"].tolist()) <= {1, 2, 3, 4}
        assert (each["scores"].diff() <= 0).all()
        assert (each["scores"] > 0.05).all()
        height, width = image.shape[1:]
        x1, y1, x2, y2 = each["boxes"].T
        assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= width + 1e-3).all()
        assert (y2 <= height + 1e-3).all()


QUICK = ("sa", "dcs")


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] * (k not in QUICK)) for k in ATTENTIONS]
)
def test_attention_that_is_the_identity_leaves_the_detections_unchanged(kind):
    plain = activate(small_detector("mobilenetv2_base")).eval()
    with_attention = small_detector(f"mobilenetv2_{kind}").eval()
    missing = with_attention.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys and all("attentions" in key for key in missing.missing_keys)
    images = random_images((64, 96))
    with torch.no_grad():
        (found,), (expected,) = with_attention(images), plain(images)
    assert len(expected["boxes"]) > 5
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_attention_stands_after_each_stage_of_the_trunk_before_its_norm():
    detector = small_detector("convnext_tiny_dcs", drop_path=0.0)
    pyramid = detector.backbone
    blocks = [m for m in detector.modules() if isinstance(m, AttentionBlock)]
    assert blocks == list(pyramid.trunk.attentions) and len(blocks) == 4
    outputs = []
    for block in blocks:
        nn.init.ones_(block.norm.weight)
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    normalized = []
    for norm in pyramid.norms:
        norm.register_forward_hook(lambda module, inputs, output: normalized.append(inputs[0]))
    pyramid(torch.rand(1, 3, 64, 96))
    assert [id(x) for x in normalized] == [id(x) for x in outputs]


def test_a_pyramid_has_five_maps_and_no_layers_that_nothing_uses():
    trunk = ConvNeXt(lambda channels: nn.Identity(), (1, 1, 1, 1), (8, 16, 24, 32), last_stride=2)
    pyramid = Pyramid(trunk, channels=12)
    maps = pyramid(torch.rand(2, 3, 64, 128))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (12, 16, 32),
        (12, 8, 16),
        (12, 4, 8),
        (12, 2, 4),
        (12, 1, 2),
    ]
    assert pyramid.strides == [4, 8, 16, 32, 64]
    sum(m.square().sum() for m in maps.values()).backward()
    assert [n for n, p in pyramid.named_parameters() if p.grad is None] == []


def test_boxes_keep_their_precision_in_mixed_precision():
    detector = small_detector().train()
    images, targets = random_images((64, 96)), [target(64, 96, (1, 4, 6, 40, 50))]
    proposals = []
    detector.rpn.register_forward_hook(lambda m, i, output: proposals.extend(output[0]))
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(images, targets)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    (boxes,) = proposals
    assert boxes.dtype == torch.float32
    assert not torch.equal(boxes, boxes.bfloat16().float())


def message(*args, **options) -> str:
    with pytest.raises(InputError) as caught:
        build_detector(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_names_and_options_are_refused_in_one_line():
    assert "did you mean convnext_tiny" in message("convnext_tny_dcs", 3)
    assert "unknown option 'windos'" in message("mobilenetv2_dcs", 3, windos=1)
    assert "num_classes" in message("mobilenetv2_dcs", 0)
    assert "OSNet does not downsample" in message("osnet_x1_0_base", 3)
    assert "8, 16, 16, 16" in message("osnet_x1_0_base", 3, last_stride=1)
    assert "4, 8, 16, 16" in message("mobilenetv2_base", 3, last_stride=1)
    assert "drop_path" in message("convnext_tiny_base", 3, drop_path=1.5)


@pytest.mark.parametrize("value", ["abc", None, True, 1.5, 16.0, 0, -3])
@pytest.mark.parametrize("option", ["channels", "hidden", "samples"])
def test_sizes_of_the_heads_are_whole_numbers(option, value):
    said = message("mobilenetv2_dcs", 3, **{option: value})
    assert said.startswith(f"{option} must be a whole number of at least")
    assert said.endswith(f"not {value!r}")


def test_the_fewest_samples_hold_an_object():
    """Of one less, the losses of boxes and masks would be 0."""
    assert "samples must be" in message("mobilenetv2_dcs", 3, samples=FEWEST_SAMPLES - 1)
    detector = small_detector(samples=FEWEST_SAMPLES).train()
    losses = detector(random_images((64, 96)), [target(64, 96, (1, 4, 6, 40, 50))])
    assert losses["loss_box_reg"] > 0 and losses["loss_mask"] > 0


# --- memory of attention over large maps ---------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Context that records the elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return output


@pytest.mark.parametrize("kind", ["sa", "dcs"])
def test_no_tensor_of_attention_over_200x320_positions_has_more_than_the_maps_elements(kind):
    """Forward and backward; an affinity matrix would have 64,000 x 64,000, 16 GB."""
    block, channels = build_attention(kind, 24, zero_init=False), 24
    x = torch.randn(1, channels, 200, 320, requires_grad=True)
    with LargestTensor() as largest:
        block(x).square().mean().backward()
    assert x.grad.count_nonzero() > 0
    assert largest.elements <= 4 * x.numel()  # four whole windows around a fractional one


MEMORY = """
import torch
from reid_dcs.attention import build_attention
def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 2**10
block = build_attention({kind!r}, 96, zero_init=False)
x = torch.randn(1, 96, 200, 320, requires_grad=True)
block(x[:, :, :8, :8]).sum().backward()  # libraries are loaded
before = peak()
block(x).square().mean().backward()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sa", "dcs"])
def test_peak_memory_of_attention_over_200x320_positions(kind):
    """A process of its own; the map of 96 channels is 23 MB."""
    command = [sys.executable, "-c", MEMORY.format(kind=kind)]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    peak, of_map = float(output.stdout), 4 * 96 * 200 * 320 / 2**20
    print(f"{kind}: {peak:.0f} MB")
    assert of_map < peak < 30 * of_map  # 700 MB


@pytest.mark.parametrize("size", [(20, 33), (37, 12)])
def test_attention_over_a_map_that_is_not_square_equals_the_affinity_matrix(size):
    torch.manual_seed(0)
    block = build_attention("dcs", 16, zero_init=False).double()
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    tokens = x.flatten(2).mT
    affinities = block.affinities(x, range(tokens.shape[1]))  # (B, N, N)
    expected = affinities @ tokens / tokens.shape[1]
    torch.testing.assert_close(block.attend_map(x), expected, rtol=1e-9, atol=1e-9)
