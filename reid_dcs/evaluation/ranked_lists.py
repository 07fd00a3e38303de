"""Selection of queries, and the top of their ranked lists, for figures, reports and tables."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import Ranking
from reid_dcs.files import written_whole

RANKS_HEADER = ("query", "rank", "gallery", "distance", "match")


class RankedList(NamedTuple):
    """The gallery images nearest to one query, junk excluded.

    Attributes:
        query: query index.
        gallery: (n,) gallery indices, nearest first.
        distances: (n,) distances to the query.
        matches: (n,) bool, True where the identity is the query's.
        average_precision: average precision of the whole ranked list.
    """

    query: int
    gallery: np.ndarray
    distances: np.ndarray
    matches: np.ndarray
    average_precision: float


def choose_queries(
    average_precision: np.ndarray, which: str, number: int, seed: int = 0
) -> np.ndarray:
    """Select queries that have a match.

    Args:
        average_precision: (num_query,), NaN for a query without a match.
        which: ``"worst"`` or ``"best"``: sorted by average precision from that end, ties by index;
            ``"random"``: a random sample, sorted by index.
        number: maximum number of queries.
        seed: seed of the random sample.

    Returns:
        indices of the queries, at most ``number``.

    Raises:
        ValueError: ``which`` is none of these.
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
    """The first ``length`` gallery images of one query's ranked list.

    Args:
        distances: distance matrix, (num_query, num_gallery).
        labels: identities and cameras of the same images.
        ranking: result of :func:`~reid_dcs.evaluation.evaluate.rank_gallery` on them.
        query: query index.
        length: maximum number of images.
    """
    row = distances[torch.tensor([query])][0].cpu().numpy()  # (num_gallery,)
    order = np.argsort(row)  # ties are broken as in match_ranks
    same_pid = labels.g_pids == labels.q_pids[query]
    junk = same_pid & (labels.g_camids == labels.q_camids[query])
    nearest = order[~junk[order]][:length]
    average_precision = float(ranking.average_precision[query])
    return RankedList(query, nearest, row[nearest], same_pid[nearest], average_precision)


def write_ranked_lists(
    lists: Iterable[RankedList], queries: Sequence[str], gallery: Sequence[str], path: Path
) -> None:
    """Write ranked lists as CSV, atomically: a row per query and gallery image.

    The columns are ``query`` and ``gallery`` (files, of which bytes that are not UTF-8 are
    escaped), ``rank`` from 1, ``distance`` with all its digits, and ``match``, 0 or 1.

    Args:
        lists: ranked lists.
        queries, gallery: paths of all query and gallery images, indexed by the lists.

    Raises:
        InputError: the file cannot be written.
    """
    with written_whole(path) as file:
        file.write(_csv([RANKS_HEADER]))
        for ranked in lists:
            columns = zip(ranked.gallery, ranked.distances, ranked.matches, strict=True)
            file.write(
                _csv(
                    (queries[ranked.query], rank, gallery[image], repr(float(distance)), int(match))
                    for rank, (image, distance, match) in enumerate(columns, 1)
                )
            )


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
