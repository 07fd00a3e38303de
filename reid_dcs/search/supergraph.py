"""The supergraphs of Tables 5 and 6: the largest network of a space, under channel masks."""

from difflib import get_close_matches

import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention import ATTENTIONS, GSA
from reid_dcs.errors import InputError
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.backbones.base import AttentionFactory
from reid_dcs.models.backbones.bottleneck import Bottleneck, fit
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.heads.reid import ReIDNetwork
from reid_dcs.models.registry import attention_factory
from reid_dcs.models.space import SPACES, Space
from reid_dcs.search.masks import BottleneckMasks, Choice, Width, Widths


class MaskedFBNetV2(FBNetV2):
    """The largest trunk of a space; masks make any other of it.

    Its blocks have the names and the weights of a plain trunk's: a narrower trunk's weights are
    the first ones in every dimension.
    """

    def __init__(self, attention: AttentionFactory, space: Space) -> None:
        super().__init__(attention, space)
        self.stem_width = Widths([space.stem])
        inputs = [(space.stem,), *(block.widths for block in space.blocks)]
        self.masks = nn.ModuleList(map(BottleneckMasks, inputs, space.blocks))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of the four stages, under one draw of all masks."""
        x, width, masks = self.stem(x), self.stem_width(), iter(self.masks)
        outputs = []
        for stage, attention in zip(self.stages, self.attentions, strict=True):
            for block in stage:
                hidden, width = next(masks)(width.chances)
                x = masked_bottleneck(block, x, hidden, width.mask)
            x = masked_attention(attention, x, width)
            outputs.append(x)
        return outputs


def masked_bottleneck(block: Bottleneck, x: Tensor, hidden: Tensor, outputs: Tensor) -> Tensor:
    """A bottleneck whose hidden and output channels are masked.

    The depthwise convolution keeps channels apart, so that the hidden mask acts once: on the
    weights that project the hidden channels, not on their maps. The output's mask comes after BN
    and residual, since a BN gives dropped channels its bias; a residual is thus cut to the block's
    own width, and channels that its input lacks are zero.

    Args:
        block: of the largest network.
        x: (B, C, H, W), dropped channels zero.
        hidden: mask of the hidden channels.
        outputs: mask of the output's channels.
    """
    weight = block.project.weight  # (outputs, hidden, 1, 1)
    weight = weight * hidden.to(weight.dtype)[:, None, None]
    y = block.norm(F.conv2d(block.depthwise(block.expand(x)), weight))
    if block.residual:
        y = y + fit(x, block.outputs)
    return y * outputs.to(y.dtype)[:, None, None]


def masked_attention(attention: nn.Module, x: Tensor, width: Width) -> Tensor:
    """Attention whose windows lie in the channels that are kept, (B, C, H, W) -> (B, C, H, W).

    Where one width is certain, windows are what they are in a block of that many channels.
    """
    if isinstance(attention, nn.Identity):
        return x
    attention.reach = width.channels
    try:
        added = attention.branch(x)
    finally:
        attention.reach = attention.channels
    return x + added * width.mask.to(added.dtype)[:, None, None]


class Supergraph(ReIDNetwork):
    """A space as one network, with the head and the contract of all networks here.

    In training every pass draws masks; in evaluation it is its likeliest subgraph.

    Args:
        space: a table, or a space of your own.
        attention: a kind of ``reid_dcs.attention.ATTENTIONS``, or ``"base"`` for none.
        num_classes, loss: of the head; see :class:`ReIDNetwork`.
        options: of the attention.
    """

    def __init__(
        self, space: Space, attention: str, num_classes: int, loss: str = "triplet", **options
    ) -> None:
        self.space, self.attention = space, attention
        self.options = options
        trunk = MaskedFBNetV2(attention_factory(attention, **options), space)
        super().__init__(trunk, num_classes, loss)

    @property
    def temperature(self) -> float:
        """Of every Gumbel softmax in it, those of ``gsa`` included. Set it to anneal."""
        return self.trunk.stem_width.choice.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"temperature must be a number above 0, not {value!r}")
        for module in self.modules():
            if isinstance(module, Choice | GSA):
                module.temperature = value

    def architecture(self) -> Architecture:
        """Its likeliest subgraph."""
        masks = self.trunk.masks
        windows = [
            {name: logits.tolist() for name, logits in block.named_parameters(recurse=False)}
            for block in self.trunk.attentions
        ]
        return Architecture(
            self.space.name,
            widths=tuple(m.filters.options[m.filters.choice.likeliest()] for m in masks),
            expansions=tuple(m.expansions[m.expansion.likeliest()] for m in masks),
            **({"attention": self.attention, "windows": tuple(windows)} if any(windows) else {}),
        )


_NAMES = {f"{space}_{kind}": (space, kind) for space in SPACES for kind in ("base", *ATTENTIONS)}


def is_space(name: str) -> bool:
    """Whether networks of a name can be searched as one."""
    return name in _NAMES


def build_supergraph(name: str, num_classes: int, loss: str = "triplet", **options) -> Supergraph:
    """The supergraph that networks of a name are searched in.

    Args:
        name: such as ``"fbnetv2_dcs"``: a key of ``SPACES`` and a kind of attention or ``base``.
        num_classes: identities in training.
        loss: ``"softmax"`` or ``"triplet"``.
        options: of the attention, such as ``windows=1``.

    Raises:
        InputError: an unknown name or option, a bad value.
    """
    if not is_space(name):
        close = get_close_matches(name, _NAMES, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(_NAMES)}"
        raise InputError(f"there is no supergraph of {name!r}: {hint}")
    space, kind = _NAMES[name]
    try:
        return Supergraph(SPACES[space], kind, num_classes, loss, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"supergraph of {name}: {error}") from error
