"""The inverted residual compared with torchvision's, and its residual between widths."""

import pytest
import torch
from torchvision.models.mobilenetv2 import InvertedResidual

from reid_dcs.inference.onnx import OnnxNetwork, onnx_graph
from reid_dcs.models.backbones.bottleneck import Bottleneck


def pair(inputs: int, hidden: int, outputs: int, stride: int):
    """A block with random statistics in every BN, and an input."""
    torch.manual_seed(0)
    block = Bottleneck(inputs, hidden, outputs, stride)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return block.eval(), torch.randn(2, inputs, 9, 6)


@pytest.mark.parametrize(("outputs", "stride"), [(8, 1), (12, 2), (8, 2)])
def test_equals_torchvisions_block_where_both_exist(outputs, stride):
    block, x = pair(8, 24, outputs, stride)
    twin = InvertedResidual(8, outputs, stride, expand_ratio=3).eval()
    twin.load_state_dict(dict(zip(twin.state_dict(), block.state_dict().values(), strict=True)))
    torch.testing.assert_close(block(x), twin(x))


@pytest.mark.parametrize("outputs", [5, 8, 12])
def test_a_residual_is_cut_or_zero_padded(outputs):
    block, x = pair(8, 20, outputs, 1)
    added = block(x) - block.norm(block.project(block.depthwise(block.expand(x))))
    expected = torch.zeros(2, outputs, 9, 6)
    expected[:, : min(8, outputs)] = x[:, : min(8, outputs)]
    torch.testing.assert_close(added, expected)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [5, 12])
def test_onnx_cuts_and_pads_too(outputs):
    pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    block, x = pair(8, 20, outputs, 1)
    found = OnnxNetwork(onnx_graph(block, x))(x)
    torch.testing.assert_close(found, block(x), rtol=1e-4, atol=1e-5)
