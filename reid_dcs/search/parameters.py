"""Parameters that Algorithm 1 updates in each turn, as the modules of a network declare them."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from torch import nn
from torch.nn import Parameter

from reid_dcs.attention import DCSMask, WindowedAttention


@runtime_checkable
class Searchable(Protocol):
    """A module that declares which of its parameters a search updates."""

    def search_parameters(self) -> dict[str, list[Parameter]]:
        """Lists of parameters under ``"windows"`` or ``"logits"``."""
        ...


class SearchParameters(NamedTuple):
    """All parameters of a network, each in one of three lists."""

    weights: list[Parameter]
    """Updated on the first batches of an epoch."""
    windows: list[Parameter]
    """Parameters that determine the windows, or masks, of attention blocks."""
    logits: list[Parameter]
    """Logits of Gumbel softmaxes: a supergraph's widths and expansions, the windows of ``gsa``."""


def search_parameters(network: nn.Module) -> SearchParameters:
    """Group the parameters of a network.

    Parameters that no :class:`Searchable` module declares are weights.
    """
    found: dict[str, list[Parameter]] = {"windows": [], "logits": []}
    for module in searchable(network):
        for group, parameters in module.search_parameters().items():
            found[group] += parameters
    searched = {id(parameter) for group in found.values() for parameter in group}
    weights = [p for p in network.parameters() if id(p) not in searched]
    return SearchParameters(weights, found["windows"], found["logits"])


def searchable(network: nn.Module) -> Iterator[Searchable]:
    """Modules of a network that declare ``search_parameters()``."""
    return (module for module in network.modules() if isinstance(module, Searchable))


def fix_windows(network: nn.Module, fixed: str | None) -> None:
    """Give the starts, or the lengths, of all learned windows no gradient.

    Args:
        network: any; its windowed attention blocks are changed.
        fixed: ``"start"``, ``"length"``, or None: both learn.
    """
    for block in learned_windows(network).values():
        block.fixed = fixed


def learned_windows(network: nn.Module) -> dict[str, WindowedAttention]:
    """Attention blocks with windows that a search updates, by name."""
    return {
        name: block
        for name, block in network.named_modules()
        if isinstance(block, WindowedAttention) and block.learns
    }


def learned_masks(network: nn.Module) -> dict[str, DCSMask]:
    """Attention blocks with a binary mask for each position, by name."""
    modules = network.named_modules()
    return {name: block for name, block in modules if isinstance(block, DCSMask)}


def set_temperature(network: nn.Module, temperature: float) -> None:
    """Set the temperature of every Gumbel softmax and sigmoid in a network.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be a number above 0, not {temperature!r}")
    for module in searchable(network):
        if hasattr(module, "temperature"):
            module.temperature = temperature
