"""Insert attention into any network of torchvision, timm, torchreid or your own."""

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
    """Insert an attention block after some modules of a network, in place.

    Each named module ``m`` is replaced by an :class:`Attended`: ``m.stage`` is the original
    module, ``m.attention`` the block. Since this renames parameters, load weights first.

    Args:
        network: any network.
        after: names of modules, as in ``network.named_modules()``, such as ``["layer1",
            "layer2"]``. Each must return a map (B, C, H, W), and have one name only.
        kind: a key of ``reid_dcs.attention.ATTENTIONS``.
        input_size: (channels, height, width) of an image that the network accepts; it is run to
            find C after each module, and at twice the size to see that C does not follow it.
        options: of the attention, such as ``windows=1``.

    Returns:
        the network.

    Raises:
        ValueError: no module, or one that does not exist, does not run, does not return a 4-D map
            with the channels first, or has another name, too; an image size that the network does
            not accept; an unknown kind or a bad value of an option. The network is then unchanged.
        TypeError: an option that the kind does not have.
    """
    names = [after] if isinstance(after, str) else list(after)
    _check_names(network, names)
    shapes = _output_shapes(network, names, input_size)
    channels = {name: _channels(name, shapes[name]) for name in names}
    _check_channels_first(network, channels, input_size)
    blocks = {
        name: build_attention(kind, channels[name], **options).to(weight_of(network))
        for name in names
    }
    for name in sorted(blocks, key=len, reverse=True):  # inner modules first
        stage = network.get_submodule(name)
        block = blocks[name].train(stage.training)
        network.set_submodule(name, Attended(stage, block))
    return network


class Attended(nn.Module):
    """A module that returns a map, and the attention after it."""

    def __init__(self, stage: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.stage, self.attention = stage, attention

    def forward(self, *inputs, **named) -> Tensor:
        """The arguments of the stage -> (B, C, H, W)."""
        return self.attention(self.stage(*inputs, **named))


def _check_names(network: nn.Module, names: list[str]) -> None:
    if not names:
        raise ValueError("after names no module")
    known = {name: each for name, each in network.named_modules(remove_duplicate=False) if name}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see named_modules()"
            raise ValueError(f"the network has no module {name!r}: {hint}")
        if names.count(name) > 1:
            raise ValueError(f"the module {name!r} is named twice")
        others = [other for other, each in known.items() if each is known[name] and other != name]
        if others:
            raise ValueError(
                f"the module {name!r} is {others[0]!r}, too, and may be called by that name"
            )


def _output_shapes(
    network: nn.Module, names: list[str], input_size: Sequence[int]
) -> dict[str, list[torch.Size | None]]:
    """Shape of the output of each call of each module on one image; None if not a tensor."""
    shapes: dict[str, list[torch.Size | None]] = {name: [] for name in names}

    def record_shape(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if name in shapes:
            shapes[name].append(output.shape if isinstance(output, Tensor) else None)

    try:
        probe(network, input_size, record_shape)
    except Exception as error:  # any error of the network's modules
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the network does not run on an image {tuple(input_size)} ({reason}): pass input_size"
        ) from error
    return shapes


def _channels(name: str, shapes: list[torch.Size | None]) -> int:
    """C of the module's outputs, the same in every call."""
    if not shapes:
        raise ValueError(f"the module {name!r} does not run in the network's forward pass")
    channels = set()
    for shape in shapes:
        if shape is None or len(shape) != 4:
            given = "no tensor" if shape is None else f"a tensor of shape {tuple(shape)}"
            raise ValueError(f"the module {name!r} returns {given}, not a map (B, C, H, W)")
        channels.add(shape[1])
    if len(channels) > 1:
        raise ValueError(f"the module {name!r} runs with different channels: {sorted(channels)}")
    return channels.pop()


def _check_channels_first(
    network: nn.Module, channels: dict[str, int], input_size: Sequence[int]
) -> None:
    """Check that C does not follow the size of the image, where the network takes another size.

    Raises:
        ValueError: a module that returns (B, H, W, C).
    """
    first, height, width = input_size
    try:
        shapes = _output_shapes(network, list(channels), (first, 2 * height, 2 * width))
    except ValueError:  # a network of one size
        return
    for name, expected in channels.items():
        if _channels(name, shapes[name]) != expected:
            raise ValueError(
                f"the second dimension of what the module {name!r} returns follows the height of "
                "the image: it must return its channels there, (B, C, H, W)"
            )
