"""Exported to ONNX, a network gives what it gives here, for any number of images."""

import pytest
import torch
from helpers.networks import (
    active_model,
    assert_same_features,
    images,
    one_model_slow,
    settle,
)
from torch import nn

from reid_dcs.data.augment import normalize
from reid_dcs.inference.onnx import Normalized, OnnxNetwork, onnx_graph

pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")


@pytest.mark.slow
@one_model_slow
def test_parity(name):
    model = settle(active_model(name))
    graph = onnx_graph(model, images(2))
    exported = OnnxNetwork(graph)
    for count in (3, 5):
        with torch.no_grad():
            assert_same_features(exported(images(count)), model(images(count)), 1e-3)
    made_by = {output: node.op_type for node in graph.graph.node for output in node.output}
    norms = [node for node in graph.graph.node if node.op_type == "BatchNormalization"]
    assert all(made_by.get(norm.input[0]) != "Conv" for norm in norms), "a batch norm is left"


def test_normalization_inside_the_graph_is_the_loaders():
    pixels = torch.randint(0, 256, (3, 12, 8, 3), dtype=torch.uint8)
    mean, std = [0.5, 0.4, 0.1], [0.2, 1.0, 0.3]
    network = Normalized(nn.Flatten(), mean, std).eval()
    expected = normalize(pixels, mean, std).flatten(1)
    torch.testing.assert_close(network(pixels), expected)
    torch.testing.assert_close(OnnxNetwork(onnx_graph(network, pixels))(pixels), expected)
