"""FBNetV2 networks (Tables 5 and 6): one network of a search space, with four attention blocks."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS
from reid_dcs.errors import InputError
from reid_dcs.models.architecture import PACKAGED, Architecture, ArchitectureSource
from reid_dcs.models.backbones.base import AttentionFactory, Backbone, check_last_stride
from reid_dcs.models.backbones.bottleneck import (
    Bottleneck,
    convolution,
    init_from_scratch,
    out_of_place,
)
from reid_dcs.models.space import SPACES, Space


class FBNetV2(Backbone):
    """One network of a search space.

    Args:
        attention: channels -> the block inserted after a stage.
        space: the blocks to choose from, row by row.
        architecture: the network to build, in any form that :meth:`Architecture.load` accepts;
            by default the largest. If it holds windows, they go to attention blocks of their kind.
        last_stride: of the last stage; 2 as Tables 5 and 6 print it, 1 to keep its resolution.

    Raises:
        InputError: not an architecture of this space.
        ValueError: a last stride other than 1 and 2.
    """

    after_stages = ("last",)

    def __init__(
        self,
        attention: AttentionFactory,
        space: Space,
        architecture: ArchitectureSource | None = None,
        last_stride: int = 2,
    ) -> None:
        check_last_stride(last_stride)
        super().__init__()
        if architecture is None:
            found = Architecture.largest(space)
        else:
            found = Architecture.load(architecture, space)
        self.out_channels = space.last
        self.stage_channels, self.stage_strides = [], []
        self.stem = convolution(3, space.stem, kernel_size=3, stride=2)
        self.stages, self.attentions = nn.ModuleList(), nn.ModuleList()
        chosen = zip(found.widths, found.expansions, strict=True)
        channels, total_stride = space.stem, 2
        for i, options in enumerate(space.stages, start=1):
            stage = nn.Sequential()
            for block in options:
                width, expansion = next(chosen)
                stride = min(block.stride, last_stride) if i == len(space.stages) else block.stride
                stage.append(Bottleneck(channels, round(expansion * channels), width, stride))
                channels, total_stride = width, total_stride * stride
            self.stages.append(stage)
            self.attentions.append(attention(channels))
            self.stage_channels.append(channels)
            self.stage_strides.append(total_stride)
        self.last = convolution(channels, space.last, kernel_size=1)
        for module in (self.stem, self.stages, self.last):
            module.apply(init_from_scratch).apply(out_of_place)
        self._set_windows(found)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1984, H/32, W/32), or H/16 with a last stride of 1."""
        return self.last(super().forward(x))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of the four stages, the first at H/4."""
        return self.run_stages(self.stem(x), self.stages)

    def stage_modules(self) -> list[list[nn.Module]]:
        """The stem and the first stage, then each of the others."""
        return [[self.stem, self.stages[0]], *([stage] for stage in self.stages[1:])]

    @torch.no_grad()
    def _set_windows(self, architecture: Architecture) -> None:
        kind = architecture.attention
        if kind is None or ATTENTIONS.get(kind) is not type(self.attentions[0]):
            return
        for option, found in architecture.options.items():
            given = getattr(self.attentions[0], option, None)
            if given != found:
                raise InputError(
                    f"the architecture's windows were found with {option}={found}, and the network "
                    f"has {given}: pass model.options.{option}={found}"
                )
        try:
            for block, logits in zip(self.attentions, architecture.windows, strict=True):
                _set_logits(dict(block.named_parameters(recurse=False)), logits)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the architecture's windows do not fit {len(self.attentions)} blocks of "
                f"{kind}: {error}"
            ) from error


def _set_logits(parameters: Mapping[str, nn.Parameter], logits: Any) -> None:
    """Set a block's parameters, each (n,), from lists of numbers by name.

    Raises:
        ValueError, TypeError: other names, another length, or not numbers.
    """
    if not isinstance(logits, Mapping) or logits.keys() != parameters.keys():
        raise ValueError(f"a block has {' and '.join(parameters)}")
    for name, parameter in parameters.items():
        values = torch.tensor(logits[name], dtype=parameter.dtype, device="cpu")
        if values.shape != parameter.shape or values.isnan().any():
            raise ValueError(f"{name} must be {len(parameter)} number(s)")
        parameter.copy_(values)


def fbnetv2(
    attention: AttentionFactory,
    *,
    architecture: ArchitectureSource | None = None,
    last_stride: int = 2,
) -> FBNetV2:
    """Table 5: at most 2.7 M parameters and 0.23 G multiply-adds at 256x128."""
    return FBNetV2(attention, SPACES["fbnetv2"], architecture, last_stride)


def fbnetv2_large(
    attention: AttentionFactory,
    *,
    architecture: ArchitectureSource | None = None,
    last_stride: int = 2,
) -> FBNetV2:
    """Table 5, three times as deep: at most 5.3 M parameters, 0.55 G multiply-adds."""
    return FBNetV2(attention, SPACES["fbnetv2_large"], architecture, last_stride)


def fbnetv2_xlarge(
    attention: AttentionFactory,
    *,
    architecture: ArchitectureSource | None = None,
    last_stride: int = 2,
) -> FBNetV2:
    """Table 6, six times as deep: at most 17.5 M parameters, 1.86 G multiply-adds."""
    return FBNetV2(attention, SPACES["fbnetv2_xlarge"], architecture, last_stride)


def found_backbones() -> list[Callable[..., FBNetV2]]:
    """A function for each packaged architecture, named ``<space>_<architecture>``."""
    return [_found_backbone(path) for path in sorted(PACKAGED.glob("*.json"))]


def _found_backbone(path: Path) -> Callable[..., FBNetV2]:
    space = SPACES[json.loads(path.read_text())["space"]]

    def found(attention: AttentionFactory, *, last_stride: int = 2) -> FBNetV2:
        return FBNetV2(attention, space, path, last_stride)

    found.__name__ = f"{space.name}_{path.stem}"
    found.__doc__ = f"The network of {path.name}, which one of our searches found."
    return found
