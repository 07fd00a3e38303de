"""Backbone and channels searched together (DCS-DNAS): the supergraph, its cost, what it becomes.

Read masks.py, supergraph.py, cost.py, derive.py, in this order.
"""

from reid_dcs.search.cost import expected_macs, target_penalty
from reid_dcs.search.derive import derive
from reid_dcs.search.parameters import SearchParameters, search_parameters
from reid_dcs.search.supergraph import Supergraph, build_supergraph

__all__ = [
    "SearchParameters",
    "Supergraph",
    "build_supergraph",
    "derive",
    "expected_macs",
    "search_parameters",
    "target_penalty",
]
