"""MobileNetV2 and MobileNetV2-200 (Table 4), with attention after four stages."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

from reid_dcs.models.backbones.base import AttentionFactory, Backbone, check_last_stride
from reid_dcs.models.backbones.bottleneck import convolution, init_from_scratch, out_of_place
from reid_dcs.models.pretrained import Donor


class Row(NamedTuple):
    """One stage of Table 4."""

    t: int
    """Expansion factor."""
    c: int
    """Output channels."""
    s: int
    """Stride of the first bottleneck; the others have 1."""
    attended: bool
    """An attention block follows."""


def table_4(last_stride: int) -> tuple[Row, ...]:
    """Rows of Table 4. It prints stride 2 for the 160-channel stage.

    That is right for ImageNet classification. For re-identification Table 1's multiply-adds need
    stride 1.
    """
    return (
        Row(1, 16, 1, False),
        Row(6, 24, 2, True),
        Row(6, 32, 2, True),
        Row(6, 64, 2, False),
        Row(6, 96, 1, True),
        Row(6, 160, last_stride, False),
        Row(6, 320, 1, True),
    )


class MobileNetV2(Backbone):
    """torchvision's inverted residuals in the stages of Table 4.

    The paper counts 53 convolutions: the first bottleneck keeps its 1x1 expansion although
    t = 1, where torchvision leaves it out. Here it is ``expand``.

    Args:
        attention: channels -> the block inserted after an attended stage.
        last_stride: of the 160-channel stage; 2 is ImageNet's, 1 is usual in re-identification.

    Raises:
        ValueError: a last stride other than 1 and 2.
    """

    out_channels = 1280
    after_stages = ("last",)
    dropout = 0.2
    repeats = (1, 2, 3, 4, 3, 3, 1)
    """Table 4's n: bottlenecks of each stage."""
    donor: Donor | None = Donor.torchvision(
        MobileNet_V2_Weights.IMAGENET1K_V1, lambda: mobilenet_v2().features, prefix="features."
    )

    def __init__(self, attention: AttentionFactory, last_stride: int = 1) -> None:
        check_last_stride(last_stride)
        super().__init__()
        self.stem = convolution(3, 32, kernel_size=3, stride=2)
        self.expand = convolution(32, 32, kernel_size=1)
        self.stages, self.attentions = nn.ModuleList(), nn.ModuleList()
        rows = table_4(last_stride)
        channels = 32
        for (t, c, s, attended), n in zip(rows, self.repeats, strict=True):
            blocks = []
            for i in range(n):
                blocks.append(InvertedResidual(channels, c, s if i == 0 else 1, expand_ratio=t))
                channels = c
            self.stages.append(nn.Sequential(*blocks))
            self.attentions.append(attention(c) if attended else nn.Identity())
        self.last = convolution(channels, self.out_channels, kernel_size=1)
        for module in (self.stem, self.expand, *self.stages, self.last):
            module.apply(init_from_scratch).apply(out_of_place)

        self.attended = [i for i, row in enumerate(rows) if row.attended]
        strides = list(accumulate((row.s for row in rows), mul, initial=2))[1:]  # after the stem's
        self.stage_channels = [rows[i].c for i in self.attended]
        self.stage_strides = [strides[i] for i in self.attended]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1280, H/16, W/16), or H/32 with a last stride of 2."""
        return self.last(super().forward(x))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps of 24, 32, 96 and 320 channels, the first at H/4."""
        outputs = self.run_stages(self.expand(self.stem(x)), self.stages)
        return [outputs[i] for i in self.attended]

    def stage_modules(self) -> list[list[nn.Module]]:
        """The stem and the stages up to the first attended one, then those up to the next."""
        first = [0, *(i + 1 for i in self.attended)]
        groups = [list(self.stages[a:b]) for a, b in pairwise(first)]
        return [[self.stem, self.expand, *groups[0]], *groups[1:]]

    def inherit(self, donor: nn.Module) -> None:
        """Copy the weights of torchvision's ``features``.

        ``expand``, which torchvision's network lacks, becomes the identity: while the attention
        blocks are the identity too, the features are torchvision's.
        """
        for module, given in zip(self._shared_modules(), donor.children(), strict=True):
            module.load_state_dict(given.state_dict())
        _make_identity(self.expand, after=self.stem[1])

    def _shared_modules(self) -> Iterator[nn.Module]:
        """Modules that torchvision's ``features`` has too, in its order."""
        yield self.stem
        for stage in self.stages:
            yield from stage.children()
        yield self.last


class MobileNetV2200(MobileNetV2):
    """The deeper variant of Table 4, with 200 convolutions. No ImageNet weights are published."""

    repeats = (1, 3, 21, 19, 18, 3, 1)
    donor = None


def mobilenetv2(attention: AttentionFactory, *, last_stride: int = 1) -> MobileNetV2:
    """2.2 M parameters, 0.38 GFLOPs at 256x128."""
    return MobileNetV2(attention, last_stride)


def mobilenetv2_200(attention: AttentionFactory, *, last_stride: int = 1) -> MobileNetV2200:
    """5.1 M parameters, 0.88 GFLOPs at 256x128."""
    return MobileNetV2200(attention, last_stride)


@torch.no_grad()
def _make_identity(expand: Conv2dNormActivation, after: nn.BatchNorm2d) -> None:
    """Set a 1x1 convolution, BN and ReLU6 to the identity on the outputs of ``ReLU6(after(.))``.

    Exact in evaluation, approximate in training: the BN's statistics are set to those that its
    input is expected to have, the mean and variance of a Gaussian N(beta, gamma^2) clipped to
    [0, 6].
    """
    beta, gamma = after.bias, after.weight.abs().clamp(min=1e-6)
    normal = torch.distributions.Normal(beta, gamma)

    def mass(v: float) -> Tensor:
        return normal.cdf(beta.new_full((), v).expand_as(beta))

    def density(v: float) -> Tensor:
        return gamma * normal.log_prob(beta.new_full((), v).expand_as(beta)).exp()

    inside, above = mass(6) - mass(0), 1 - mass(6)
    mean = beta * inside - gamma * (density(6) - density(0)) + 6 * above
    square = (
        (beta.square() + gamma.square()) * inside
        - gamma * ((beta + 6) * density(6) - beta * density(0))
        + 36 * above
    )
    conv, norm = expand[0], expand[1]
    nn.init.dirac_(conv.weight)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((square - mean.square()).clamp(min=0))
    norm.bias.copy_(mean)
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
