"""Algorithm 1: searching the channels of any network with attention of ours."""

from reid_dcs.search.engine import SearchEngine
from reid_dcs.search.parameters import SearchParameters, search_parameters
from reid_dcs.search.prune import describe_windows, pruned

__all__ = [
    "SearchEngine",
    "SearchParameters",
    "describe_windows",
    "pruned",
    "search_parameters",
]
