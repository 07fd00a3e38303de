"""Attention in any network: "DCS can be incorporated into arbitrary neural network backbone"."""

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from reid_dcs.attention import build_attention
from reid_dcs.runtime.hooks import probe, weight_of


def with_attention(
    network: nn.Module,
    after: Sequence[str],
    kind: str = "dcs",
    *,
    input_size: Sequence[int] = (3, 256, 128),
    **options,
) -> nn.Module:
    """Put an attention block after some modules of any network, in place.

    The module ``m`` becomes an :class:`Attended`: ``m.stage`` is what it was, ``m.attention`` the
    block. Load weights into the network before.

    Args:
        network: torchvision's, timm's, torchreid's or your own.
        after: names of modules, as ``network.named_modules()`` has them, each of which gives a
            map (B, C, H, W), such as ``["layer1", "layer2"]``.
        kind: of ``reid_dcs.attention.ATTENTIONS``.
        input_size: (channels, height, width) of an image the network can take; it is run once on
            one, to find C after each module.
        options: of the attention, such as ``windows=1``.

    Returns:
        the network.

    Raises:
        ValueError: a name that is not there, does not run, or gives no 4-D map; a size of images
            that the network does not take; an unknown kind or a bad value of an option. The
            network is then as it was.
        TypeError: an option that the kind does not have.
    """
    names = [after] if isinstance(after, str) else list(after)
    _check_names(network, names)
    shapes = _output_shapes(network, names, input_size)
    blocks = {
        name: build_attention(kind, _channels(name, shapes[name]), **options).to(weight_of(network))
        for name in names
    }
    for name in sorted(blocks, key=len, reverse=True):  # inner modules first
        stage = network.get_submodule(name)
        block = blocks[name].train(stage.training)
        network.set_submodule(name, Attended(stage, block))
    return network


class Attended(nn.Module):
    """A module that gives a map, and the attention after it."""

    def __init__(self, stage: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.stage, self.attention = stage, attention

    def forward(self, *inputs, **named) -> Tensor:
        """Whatever the stage takes -> (B, C, H, W)."""
        return self.attention(self.stage(*inputs, **named))


def _check_names(network: nn.Module, names: list[str]) -> None:
    known = [name for name, _ in network.named_modules() if name]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see named_modules()"
            raise ValueError(f"the network has no module {name!r}: {hint}")
        if names.count(name) > 1:
            raise ValueError(f"the module {name!r} is named twice")


def _output_shapes(
    network: nn.Module, names: list[str], input_size: Sequence[int]
) -> dict[str, list[torch.Size | None]]:
    """What each call of each module gave for one image: a tensor's shape, or None."""
    shapes: dict[str, list[torch.Size | None]] = {name: [] for name in names}

    def see(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if name in shapes:
            shapes[name].append(output.shape if isinstance(output, Tensor) else None)

    try:
        probe(network, input_size, see)
    except Exception as error:  # whatever its modules raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the network does not run on an image {tuple(input_size)} ({reason}): pass input_size"
        ) from error
    return shapes


def _channels(name: str, shapes: list[torch.Size | None]) -> int:
    """C of what each call of the module gave."""
    if not shapes:
        raise ValueError(f"the module {name!r} does not run in the network's forward pass")
    for shape in shapes:
        if shape is None or len(shape) != 4:
            given = "no tensor" if shape is None else f"a tensor of shape {tuple(shape)}"
            raise ValueError(f"the module {name!r} gives {given}, not a map (B, C, H, W)")
    channels = {shape[1] for shape in shapes}
    if len(channels) > 1:
        raise ValueError(f"the module {name!r} runs with {sorted(channels)} channels in turn")
    return channels.pop()
