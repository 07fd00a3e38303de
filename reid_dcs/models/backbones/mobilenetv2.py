"""MobileNetV2 and MobileNetV2-200 (Table 4): last stride 1, attention after four stages."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from reid_dcs.models.backbones.bottleneck import convolution, init_from_scratch, out_of_place
from reid_dcs.models.pretrained import Donor
from reid_dcs.models.registry import AttentionFactory, register_backbone

# One row a stage of Table 4: expansion t, channels c, stride s, attention after it. The paper
# prints stride 2 for the 160-channel stage; we take 1, the last stride of modern
# re-identification networks.
STAGES = (
    (1, 16, 1, False),
    (6, 24, 2, True),
    (6, 32, 2, True),
    (6, 64, 2, False),
    (6, 96, 1, True),
    (6, 160, 1, False),
    (6, 320, 1, True),
)


class MobileNetV2(nn.Module):
    """The trunk: torchvision's inverted residuals in the stages of Table 4.

    The paper counts 53 convolutions: the first bottleneck keeps its 1x1 expansion although
    t = 1, where torchvision leaves it out. It stands here as ``expand``.

    Args:
        attention: channels -> the block put after an attended stage.
    """

    out_channels = 1280
    repeats = (1, 2, 3, 4, 3, 3, 1)
    """Table 4's n: bottlenecks a stage."""
    donor: Donor | None = Donor.torchvision(
        MobileNet_V2_Weights.IMAGENET1K_V1, lambda: mobilenet_v2().features, prefix="features."
    )

    def __init__(self, attention: AttentionFactory) -> None:
        super().__init__()
        self.stem = convolution(3, 32, kernel_size=3, stride=2)
        self.expand = convolution(32, 32, kernel_size=1)
        self.stages, self.attentions = nn.ModuleList(), nn.ModuleList()
        channels = 32
        for (t, c, s, attended), n in zip(STAGES, self.repeats, strict=True):
            blocks = []
            for i in range(n):
                blocks.append(InvertedResidual(channels, c, s if i == 0 else 1, expand_ratio=t))
                channels = c
            self.stages.append(nn.Sequential(*blocks))
            self.attentions.append(attention(c) if attended else nn.Identity())
        self.last = convolution(channels, self.out_channels, kernel_size=1)
        for module in (self.stem, self.expand, *self.stages, self.last):
            module.apply(init_from_scratch).apply(out_of_place)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1280, H/16, W/16)."""
        x = self.expand(self.stem(x))
        for stage, attention in zip(self.stages, self.attentions, strict=True):
            x = attention(stage(x))
        return self.last(x)

    def inherit(self, given: nn.Sequential) -> None:
        """Take the weights of the donor's trunk, torchvision's ``features``.

        ``expand``, which the donor lacks, becomes the identity, so that with the attention at
        identity the trunk gives the donor's features.
        """
        for own, other in zip(self._donated(), given, strict=True):
            own.load_state_dict(other.state_dict())
        _make_identity(self.expand, after=self.stem[1])

    def _donated(self) -> Iterator[nn.Module]:
        """The modules that torchvision's network has too, in its order."""
        yield self.stem
        for stage in self.stages:
            yield from stage
        yield self.last


class MobileNetV2200(MobileNetV2):
    """The deeper variant of Table 4, of 200 convolutions. Nobody trained it on ImageNet."""

    repeats = (1, 3, 21, 19, 18, 3, 1)
    donor = None


@register_backbone
def mobilenetv2(attention: AttentionFactory) -> MobileNetV2:
    """2.2 M parameters, 0.38 GFLOPs at 256x128."""
    return MobileNetV2(attention)


@register_backbone
def mobilenetv2_200(attention: AttentionFactory) -> MobileNetV2200:
    """5.1 M parameters, 0.88 GFLOPs at 256x128."""
    return MobileNetV2200(attention)


@torch.no_grad()
def _make_identity(expand: nn.Sequential, after: nn.BatchNorm2d) -> None:
    """Make a 1x1 convolution, BN, ReLU6 the identity on what ``ReLU6(after(.))`` gives.

    In evaluation exactly; in training nearly, because the BN is set to the mean and variance
    that its input has: those of a Gaussian N(beta, gamma^2) clipped to [0, 6].
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
