"""The result of a search, from which the training starts: a state, perhaps an architecture."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn

from reid_dcs.models.architecture import Architecture
from reid_dcs.search.derive import derive
from reid_dcs.search.recalibrate import recalibrate
from reid_dcs.search.supergraph import Supergraph


class SearchResult(NamedTuple):
    """State and architecture that the training starts from."""

    state: dict[str, Tensor]
    """State dict of the searched network, or of the network derived from a supergraph."""
    architecture: Architecture | None
    """Derived backbone; None if only channels were searched."""


def search_result(network: nn.Module, images: Iterable[Tensor]) -> SearchResult:
    """The result of a search: the network's state, or that of the derived network.

    Args:
        network: searched network, or supergraph.
        images: batches for the batch norm statistics of the derived network.
    """
    if isinstance(network, Supergraph):
        derived = recalibrate(derive(network), images)
        return SearchResult(derived.state_dict(), network.architecture())
    return SearchResult(network.state_dict(), None)
