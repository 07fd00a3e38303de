"""What a person looks at: some queries, and the heads of their ranked lists."""

from typing import NamedTuple

import numpy as np
import torch

from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import Ranking


class RankedList(NamedTuple):
    """The nearest of a query's gallery, junk left out.

    Attributes:
        query: its number.
        gallery: numbers of the gallery images, nearest first.
        distances: of them.
        matches: bool, whether they show the query's person.
        average_precision: of the whole list.
    """

    query: int
    gallery: np.ndarray
    distances: np.ndarray
    matches: np.ndarray
    average_precision: float


def choose_queries(
    average_precision: np.ndarray, which: str, number: int, seed: int = 0
) -> np.ndarray:
    """Numbers of some queries that have a match, at most ``number``.

    Args:
        average_precision: (num_query,), NaN without a match.
        which: ``worst`` first or ``best`` first by average precision, equal ones in the order of
            their numbers; or ``random``, drawn by the seed, in that order.

    Raises:
        ValueError: another word.
    """
    valid = np.flatnonzero(~np.isnan(average_precision))
    if which == "random":
        random = np.random.default_rng(seed)
        return np.sort(random.choice(valid, min(number, len(valid)), replace=False))
    signs = {"worst": 1, "best": -1}
    if which not in signs:
        raise ValueError(f"which must be worst, best or random, not {which!r}")
    order = np.argsort(signs[which] * average_precision[valid], kind="stable")
    return valid[order[:number]]


def ranked_list(
    distances: Rows, labels: Labels, ranking: Ranking, query: int, length: int
) -> RankedList:
    """The first ``length`` of one query's list; ties as everywhere."""
    row = distances[torch.tensor([query])][0].cpu().numpy()  # (num_gallery,)
    order = np.argsort(row)
    same_pid = labels.g_pids == labels.q_pids[query]
    junk = same_pid & (labels.g_camids == labels.q_camids[query])
    nearest = order[~junk[order]][:length]
    average_precision = float(ranking.average_precision[query])
    return RankedList(query, nearest, row[nearest], same_pid[nearest], average_precision)
