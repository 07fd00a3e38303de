"""The inverted residual block of MobileNetV2 and FBNetV2."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, 1x1 projection, each with BN (MobileNetV2).

    Differs from torchvision's ``InvertedResidual`` in two points, for networks whose widths are
    searched: the hidden width is given directly, not as a multiple, and every block of stride 1
    has a residual, its input cut or zero-padded to the block's output width (:func:`fit`).

    Args:
        inputs, hidden, outputs: numbers of channels.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.outputs, self.residual = outputs, stride == 1
        self.expand = convolution(inputs, hidden, kernel_size=1)
        self.depthwise = convolution(hidden, hidden, kernel_size=3, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.norm(self.project(self.depthwise(self.expand(x))))
        return y + fit(x, self.outputs) if self.residual else y


def fit(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-pad the channels: (B, C, H, W) -> (B, channels, H, W)."""
    missing = channels - x.shape[1]
    if missing > 0:
        return F.pad(x, (0, 0, 0, 0, 0, missing))
    return x[:, :channels] if missing else x


def convolution(
    inputs: int, outputs: int, *, kernel_size: int, stride: int = 1, groups: int = 1
) -> Conv2dNormActivation:
    """Convolution without bias, BN and ReLU6."""
    return Conv2dNormActivation(
        inputs,
        outputs,
        kernel_size=kernel_size,
        stride=stride,
        groups=groups,
        activation_layer=nn.ReLU6,
    )


def init_from_scratch(module: nn.Module) -> None:
    """torchvision's initialization of MobileNetV2, for ``network.apply``."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")


def out_of_place(module: nn.Module) -> None:
    """Make ReLU6 out of place, for ``network.apply``.

    In place it first copies its whole input, which its gradient needs.
    """
    if isinstance(module, nn.ReLU6):
        module.inplace = False
