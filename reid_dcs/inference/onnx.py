"""Export a network to an ONNX graph with a dynamic batch axis, and run it.

The exporter folds each batch norm that follows a convolution into it; only the neck's remains.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import Dim

from reid_dcs.runtime.imports import extra

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images", "features"


class Normalized(nn.Module):
    """Normalization (x / 255 - mean) / std followed by a network.

    (B, H, W, 3) uint8, RGB, of the network's input size -> (B, D).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        images = images.permute(0, 3, 1, 2).float() / 255  # (B, 3, H, W)
        return self.network((images - self.mean) / self.std)


class Fractions(Normalized):
    """Normalization (x - mean) / std followed by a network.

    (B, 3, H, W) floats from 0 to 1, RGB, of the network's input size -> (B, D).
    """

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def onnx_graph(network: nn.Module, example: Tensor) -> "ModelProto":
    """Export a network or block to an ONNX graph with input ``images`` and output ``features``.

    Args:
        network: in evaluation mode.
        example: an input of at least two images; the graph takes any number of them.

    Raises:
        InputError: a package of the extra ``[export]`` is not installed.
    """
    extra("onnxscript")
    if example.is_floating_point() and example.ndim == 4:
        # a graph has no strides, but attention transposes less where it finds channels last
        example = example.contiguous(memory_format=torch.channels_last)
    batch = ({0: Dim("batch")},)
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=batch,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None  # it is None without dynamo only
    return program.model_proto


class OnnxNetwork:
    """Runs a graph with ONNX Runtime on the CPU: the graph's input -> (B, D).

    Raises:
        InputError: ONNX Runtime is not installed.
    """

    def __init__(self, graph: "ModelProto") -> None:
        self.session = extra("onnxruntime").InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: Tensor) -> Tensor:
        (features,) = self.session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(features)
