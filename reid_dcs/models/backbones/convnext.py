"""ConvNeXt (Liu et al., 2022) with attention after each of its four stages."""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ConvNeXt as TorchvisionConvNeXt
from torchvision.models import (
    ConvNeXt_Base_Weights,
    ConvNeXt_Small_Weights,
    ConvNeXt_Tiny_Weights,
    WeightsEnum,
)
from torchvision.models.convnext import CNBlockConfig

from reid_dcs.models.backbones.base import AttentionFactory, Backbone, check_last_stride
from reid_dcs.models.pretrained import Donor


class ConvNeXt(Backbone, TorchvisionConvNeXt):
    """torchvision's ConvNeXt without its classifier, with the same parameter names.

    The layer norm that torchvision has between pooling and the classifier is ``norm``.

    Args:
        attention: channels -> the block inserted after a stage.
        depths: number of blocks of each stage.
        widths: channels of each stage.
        last_stride: of the downsampling before the last stage; 2 is torchvision's. With 1, its 2x2
            convolution pads the map at the bottom and on the right, and keeps the size.
        drop_path: rate of stochastic depth at the last block; it rises linearly from 0.

    Raises:
        ValueError: a last stride other than 1 and 2, or a rate outside [0, 1).
    """

    features: nn.Sequential
    classifier: nn.Sequential
    after_stages = ("norm",)

    def __init__(
        self,
        attention: AttentionFactory,
        depths: Sequence[int],
        widths: Sequence[int],
        last_stride: int = 1,
        drop_path: float = 0.0,
    ) -> None:
        check_last_stride(last_stride)
        if not isinstance(drop_path, int | float) or not 0 <= drop_path < 1:
            raise ValueError(f"drop_path must be at least 0 and below 1, not {drop_path!r}")
        super().__init__(_block_settings(depths, widths), stochastic_depth_prob=drop_path)
        self.norm = cast(nn.LayerNorm, self.classifier[0])
        del self.avgpool, self.classifier
        if last_stride == 1:
            reduce = cast(nn.Sequential, self.features[-2])
            reduce[1] = _without_stride(cast(nn.Conv2d, reduce[1]))
        self.out_channels = widths[-1]
        self.stage_channels = list(widths)
        self.stage_strides = [4, 8, 16, 16 * last_stride]
        self.attentions = nn.ModuleList(map(attention, self.stage_channels))

    def stage_modules(self) -> list[list[nn.Module]]:
        """The stem or downsampling, and the blocks, of each stage."""
        return [list(self.features[i : i + 2]) for i in range(0, len(self.features), 2)]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of the stages, (B, 96..768, H/4.., W/4..) for ``tiny``."""
        outputs = []
        for (reduce, blocks), attention in zip(self.stage_modules(), self.attentions, strict=True):
            x = attention(blocks(reduce(x)))
            outputs.append(x)
        return outputs

    def embed(self, pooled: Tensor) -> Tensor:
        """The layer norm after pooling: (B, C) -> (B, C)."""
        norm = self.norm
        return F.layer_norm(pooled, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

    def inherit(self, donor: TorchvisionConvNeXt) -> None:
        """Copy the weights of torchvision's backbone, including the norm of its classifier."""
        self.features.load_state_dict(donor.features.state_dict())
        self.norm.load_state_dict(donor.classifier[0].state_dict())


def _block_settings(depths: Sequence[int], widths: Sequence[int]) -> list[CNBlockConfig]:
    following = [*widths[1:], None]
    return [CNBlockConfig(*each) for each in zip(widths, following, depths, strict=True)]


class _DenseConv(nn.Conv2d):
    """A 2x2 convolution with stride 1 that keeps the size of the map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W)."""
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def _without_stride(conv: nn.Conv2d) -> _DenseConv:
    dense = _DenseConv(conv.in_channels, conv.out_channels, kernel_size=2)
    dense.weight, dense.bias = conv.weight, conv.bias
    return dense


DEPTHS = {"tiny": (3, 3, 9, 3), "small": (3, 3, 27, 3), "base": (3, 3, 27, 3)}
WIDTHS = {
    "tiny": (96, 192, 384, 768),
    "small": (96, 192, 384, 768),
    "base": (128, 256, 512, 1024),
}


def _donor(size: str, weights: WeightsEnum) -> Donor:
    def backbone() -> nn.Module:
        network = TorchvisionConvNeXt(_block_settings(DEPTHS[size], WIDTHS[size]))
        network.classifier = network.classifier[:2]
        return network

    return Donor.torchvision(weights, backbone, classifier="classifier.2.")


DONORS = {
    "tiny": _donor("tiny", ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
    "small": _donor("small", ConvNeXt_Small_Weights.IMAGENET1K_V1),
    "base": _donor("base", ConvNeXt_Base_Weights.IMAGENET1K_V1),
}


def _build(size: str, attention: AttentionFactory, last_stride: int, drop_path: float) -> ConvNeXt:
    network = ConvNeXt(attention, DEPTHS[size], WIDTHS[size], last_stride, drop_path)
    network.donor = DONORS[size]
    return network


def convnext_tiny(
    attention: AttentionFactory, *, last_stride: int = 1, drop_path: float = 0.1
) -> ConvNeXt:
    """27.8 M parameters, 4.5 G multiply-adds at 224x224 with a last stride of 2."""
    return _build("tiny", attention, last_stride, drop_path)


def convnext_small(
    attention: AttentionFactory, *, last_stride: int = 1, drop_path: float = 0.4
) -> ConvNeXt:
    """49.5 M parameters, 8.7 G multiply-adds at 224x224 with a last stride of 2."""
    return _build("small", attention, last_stride, drop_path)


def convnext_base(
    attention: AttentionFactory, *, last_stride: int = 1, drop_path: float = 0.5
) -> ConvNeXt:
    """87.6 M parameters, 15.4 G multiply-adds at 224x224 with a last stride of 2."""
    return _build("base", attention, last_stride, drop_path)
