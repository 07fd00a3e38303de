"""The head of a query's ranked list: what a person looks at."""

from typing import NamedTuple

import numpy as np
import torch

from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.ranking import Ranking
from reid_dcs.evaluation.relatives import Labels


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
