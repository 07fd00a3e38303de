"""Supergraphs of Tables 5 and 6: the largest network of a space, with channel masks."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS, AttentionBlock
from reid_dcs.errors import InputError
from reid_dcs.models.architecture import READING, Architecture
from reid_dcs.models.backbones.base import AttentionFactory
from reid_dcs.models.backbones.bottleneck import Bottleneck, fit
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.heads.classifier import ClassificationNetwork
from reid_dcs.models.heads.reid import ReIDNetwork
from reid_dcs.models.registry import attention_factory
from reid_dcs.models.space import SPACES, Space
from reid_dcs.search.masks import BottleneckMasks, Width, Widths
from reid_dcs.search.parameters import set_temperature


class MaskedFBNetV2(FBNetV2):
    """The largest backbone of a space, with masks that turn it into any other.

    Blocks are named as in a plain backbone; the weights of a narrower one are leading slices of
    these in every dimension.
    """

    masks: Sequence[BottleneckMasks]

    def __init__(self, attention: AttentionFactory, space: Space) -> None:
        super().__init__(attention, space)
        self.stem_width = Widths([space.stem])
        inputs = [(space.stem,), *(block.widths for block in space.blocks)]
        masks = map(BottleneckMasks, inputs, space.blocks)
        self.masks = nn.ModuleList(masks)  # type: ignore[assignment]  # of any modules, to torch

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of the four stages, with one sample of all masks."""
        x, width, masks = self.stem(x), self.stem_width(), iter(self.masks)
        outputs = []
        stage: Any  # a sequence of bottlenecks
        for stage, attention in zip(self.stages, self.attentions, strict=True):
            for block in stage:
                hidden, width = next(masks)(width.chances)
                x = masked_bottleneck(block, x, hidden, width.mask)
            x = masked_attention(attention, x, width)
            outputs.append(x)
        return outputs


def masked_bottleneck(block: Bottleneck, x: Tensor, hidden: Tensor, outputs: Tensor) -> Tensor:
    """Run a bottleneck with masked hidden and output channels.

    A depthwise convolution does not mix channels, so the hidden mask is applied once, to the
    weights of the projection instead of the maps. The output mask is applied after BN and residual,
    since BN would add its bias to dropped channels; the residual is cut to the block's width, and
    channels that the input lacks are zero.

    Args:
        block: bottleneck of the largest network.
        x: (B, C, H, W), zero in dropped channels.
        hidden: mask of the hidden channels.
        outputs: mask of the output channels.
    """
    weight = block.project.weight  # (outputs, hidden, 1, 1)
    weight = weight * hidden.to(weight.dtype)[:, None, None]
    y = block.norm(F.conv2d(block.depthwise(block.expand(x)), weight))
    if block.residual:
        y = y + fit(x, block.outputs)
    return y * outputs.to(y.dtype)[:, None, None]


def masked_attention(attention: nn.Module, x: Tensor, width: Width) -> Tensor:
    """Run attention with windows in the kept channels only, (B, C, H, W) -> (B, C, H, W).

    If one width has weight 1, the windows equal those of a block with that number of channels.
    """
    if not isinstance(attention, AttentionBlock):
        return x
    return attention(x, width.channels, width.mask)


class Supergraph(nn.Module):
    """All networks of a space as one, with a head.

    Each forward pass in training samples masks; evaluation runs the most probable subgraph. A
    subclass also inherits from the network of its task, which the first arguments build, and builds
    that of the derived backbone.

    Args:
        space: of ``SPACES``, or any other.
        attention: a kind of ``reid_dcs.attention.ATTENTIONS``, or ``"base"`` for none.
        head: arguments of the task's network after the trunk.
        options: options of the attention.
    """

    trunk: MaskedFBNetV2

    def __init__(self, space: Space, attention: str, /, *head: Any, **options: Any) -> None:
        self.space, self.attention = space, attention
        self.options = options
        trunk = MaskedFBNetV2(attention_factory(attention, **options), space)
        super().__init__(trunk, *head)

    def with_head(self, trunk: FBNetV2) -> nn.Module:
        """A plain network of the task, with this head's shape, on another trunk."""
        raise NotImplementedError

    @property
    def temperature(self) -> float:
        """Temperature of all its Gumbel softmaxes, including those of ``gsa``."""
        return self.trunk.stem_width.choice.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        set_temperature(self, value)

    def architecture(self) -> Architecture:
        """Architecture of the most probable subgraph."""
        masks = self.trunk.masks
        windows = [
            {name: logits.tolist() for name, logits in block.named_parameters(recurse=False)}
            for block in self.trunk.attentions
        ]
        learned = any(windows)
        block = self.trunk.attentions[0]
        read_by = {name: getattr(block, name) for name in READING if hasattr(block, name)}
        return Architecture(
            self.space.name,
            widths=tuple(m.filters.options[m.filters.choice.likeliest()] for m in masks),
            expansions=tuple(m.expansions[m.expansion.likeliest()] for m in masks),
            attention=self.attention if learned else None,
            windows=tuple(windows) if learned else (),
            options=read_by if learned else {},
        )


class ReIDSupergraph(Supergraph, ReIDNetwork):
    """A supergraph with the Re-ID head; see :class:`Supergraph` and :class:`ReIDNetwork`."""

    trunk: MaskedFBNetV2

    def __init__(
        self, space: Space, attention: str, /, num_classes: int, loss: str = "triplet", **options
    ) -> None:
        super().__init__(space, attention, num_classes, loss, **options)

    def with_head(self, trunk: FBNetV2) -> ReIDNetwork:
        """A plain Re-ID network on another trunk."""
        network = ReIDNetwork(trunk, self.classifier.out_features, self.loss)
        network.triplet_feature = self.triplet_feature
        return network


class ClassificationSupergraph(Supergraph, ClassificationNetwork):
    """A supergraph with the head of image classification; see :class:`ClassificationNetwork`."""

    trunk: MaskedFBNetV2

    def __init__(self, space: Space, attention: str, /, num_classes: int, **options) -> None:
        super().__init__(space, attention, num_classes, **options)

    def with_head(self, trunk: FBNetV2) -> ClassificationNetwork:
        """A plain classification network on another trunk."""
        return ClassificationNetwork(trunk, self.classifier.out_features)


_NAMES = {f"{space}_{kind}": (space, kind) for space in SPACES for kind in ("base", *ATTENTIONS)}


def is_space(name: str) -> bool:
    """Check if the name is that of a supergraph."""
    return name in _NAMES


def build_supergraph(
    name: str, num_classes: int, loss: str = "triplet", task: str = "reid", **options
) -> Supergraph:
    """Build the supergraph of a name.

    Args:
        name: such as ``"fbnetv2_dcs"``: a key of ``SPACES`` and a kind of attention or ``base``.
        num_classes: number of identities or classes in training.
        loss: ``"softmax"`` or ``"triplet"``; of re-identification.
        task: ``"reid"`` or ``"classification"``, which decides the head.
        options: options of the attention, such as ``windows=1``.

    Raises:
        InputError: unknown name, task or option, or a value out of range.
    """
    if not is_space(name):
        close = get_close_matches(name, _NAMES, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(_NAMES)}"
        raise InputError(f"there is no supergraph of {name!r}: {hint}")
    space, kind = _NAMES[name]
    try:
        if task == "classification":
            return ClassificationSupergraph(SPACES[space], kind, num_classes, **options)
        if task == "reid":
            return ReIDSupergraph(SPACES[space], kind, num_classes, loss, **options)
        raise ValueError(f"task must be reid or classification, not {task!r}")
    except (TypeError, ValueError) as error:
        raise InputError(f"supergraph of {name}: {error}") from error
