"""Searching channels (Algorithm 1), and backbones with them (DCS-DNAS).

Algorithm 1 is engine.py, for any network with attention of ours. A supergraph is such a network:
masks.py, supergraph.py, cost.py, derive.py, in this order.
"""

from reid_dcs.search.cost import expected_macs, target_penalty
from reid_dcs.search.derive import derive
from reid_dcs.search.engine import SearchEngine
from reid_dcs.search.parameters import SearchParameters, search_parameters
from reid_dcs.search.prune import describe_windows, pruned
from reid_dcs.search.supergraph import Supergraph, build_supergraph

__all__ = [
    "SearchEngine",
    "SearchParameters",
    "Supergraph",
    "build_supergraph",
    "derive",
    "describe_windows",
    "expected_macs",
    "pruned",
    "search_parameters",
    "target_penalty",
]
