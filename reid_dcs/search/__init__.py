"""Channel search (Algorithm 1) and backbone search (DCS-DNAS).

``alternation.py`` is Algorithm 1, for any trainer and any network whose modules declare
``search_parameters()``; ``engine.py`` is Re-ID's torchreid engine with it. A supergraph is such a
network: read masks.py, supergraph.py, cost.py, derive.py and recalibrate.py, in this
order.
"""

from reid_dcs.search.alternation import Alternation
from reid_dcs.search.cost import expected_macs, target_penalty
from reid_dcs.search.derive import derive
from reid_dcs.search.parameters import SearchParameters, search_parameters
from reid_dcs.search.prune import describe_windows, pruned
from reid_dcs.search.recalibrate import recalibrate
from reid_dcs.search.supergraph import ReIDSupergraph, Supergraph, build_supergraph

__all__ = [
    "Alternation",
    "ReIDSupergraph",
    "SearchParameters",
    "Supergraph",
    "build_supergraph",
    "derive",
    "describe_windows",
    "expected_macs",
    "pruned",
    "recalibrate",
    "search_parameters",
    "target_penalty",
]
