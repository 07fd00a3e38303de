"""FBNetV2's networks (Tables 5 and 6): one of a space, with attention after four stages."""

import torch
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS
from reid_dcs.errors import InputError
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.backbones.bottleneck import (
    Bottleneck,
    convolution,
    init_from_scratch,
    out_of_place,
)
from reid_dcs.models.registry import AttentionFactory, register_backbone
from reid_dcs.models.space import SPACES, Space


class FBNetV2(nn.Module):
    """The trunk of one network of a space.

    Args:
        attention: channels -> the block put after a stage.
        space: its blocks, row by row.
        architecture: which of its networks, as :meth:`Architecture.of` takes it; the largest by
            default. Windows in it go to attention blocks of their kind.

    Raises:
        InputError: an architecture that is not of this space.
    """

    def __init__(
        self, attention: AttentionFactory, space: Space, architecture: object = None
    ) -> None:
        super().__init__()
        if architecture is None:
            architecture = Architecture.largest(space)
        architecture = Architecture.of(architecture, space)
        self.out_channels = space.last
        self.stem = convolution(3, space.stem, kernel_size=3, stride=2)
        self.stages, self.attentions = nn.ModuleList(), nn.ModuleList()
        chosen = zip(architecture.widths, architecture.expansions, strict=True)
        channels = space.stem
        for options in space.stages:
            stage = nn.Sequential()
            for block in options:
                width, expansion = next(chosen)
                stage.append(Bottleneck(channels, round(expansion * channels), width, block.stride))
                channels = width
            self.stages.append(stage)
            self.attentions.append(attention(channels))
        self.last = convolution(channels, space.last, kernel_size=1)
        for module in (self.stem, self.stages, self.last):
            module.apply(init_from_scratch).apply(out_of_place)
        self._place_windows(architecture)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1984, H/32, W/32)."""
        x = self.stem(x)
        for stage, attention in zip(self.stages, self.attentions, strict=True):
            x = attention(stage(x))
        return self.last(x)

    @torch.no_grad()
    def _place_windows(self, architecture: Architecture) -> None:
        if ATTENTIONS.get(architecture.attention) is not type(self.attentions[0]):
            return
        try:
            for block, logits in zip(self.attentions, architecture.windows, strict=True):
                for name, parameter in block.named_parameters(recurse=False):
                    parameter.copy_(torch.tensor(list(logits[name])))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"the architecture's windows are not those of {len(self.attentions)} blocks of "
                f"{architecture.attention} ({error})"
            ) from error


@register_backbone
def fbnetv2(attention: AttentionFactory, *, architecture: object = None) -> FBNetV2:
    """Of Table 5: 2.7 M parameters, 0.23 G multiply-adds at 256x128 at most."""
    return FBNetV2(attention, SPACES["fbnetv2"], architecture)


@register_backbone
def fbnetv2_large(attention: AttentionFactory, *, architecture: object = None) -> FBNetV2:
    """Of Table 5, three times as deep: 5.3 M parameters, 0.55 G multiply-adds at most."""
    return FBNetV2(attention, SPACES["fbnetv2_large"], architecture)


@register_backbone
def fbnetv2_xlarge(attention: AttentionFactory, *, architecture: object = None) -> FBNetV2:
    """Of Table 6, six times as deep: 17.5 M parameters, 1.86 G multiply-adds at most."""
    return FBNetV2(attention, SPACES["fbnetv2_xlarge"], architecture)
