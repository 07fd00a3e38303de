"""Open-set identification: rank-1 at a false-accept rate.

A system that may also answer "nobody" accepts the nearest gallery image if its distance is at most
a threshold. Each query is asked twice: with its matches in the gallery, and without them, when
every acceptance is false. The threshold is the largest whose false-accept rate, over the queries
without matches, does not exceed the wanted one. Rank-1 at that rate (the detection and
identification rate of Grother and Phillips) is the fraction of queries whose nearest image is a
match within the threshold.
"""

from typing import NamedTuple

import numpy as np
import torch

from reid_dcs.errors import InputError
from reid_dcs.evaluation.distances import Rows, chunks
from reid_dcs.evaluation.matches import Labels


class OpenSet(NamedTuple):
    """Result of :func:`open_set`.

    Attributes:
        rank1: fraction of valid queries whose nearest image is a match within the threshold.
        far: false-accept rate at the threshold.
        threshold: distance up to which the nearest image is accepted.
    """

    rank1: float
    far: float
    threshold: float


def open_set(distances: Rows, labels: Labels, far: float) -> OpenSet:
    """Rank-1 at a false-accept rate, over the queries that have a match.

    Args:
        distances: (num_query, num_gallery).
        labels: identities and cameras of the same images.
        far: wanted false-accept rate, above 0.

    Raises:
        InputError: no query has a match, or there are too few to tell such a rate.
    """
    nearest = [
        _nearest(distances, labels, rows)
        for rows in chunks((int(distances.shape[0]), int(distances.shape[1])))
    ]
    match, negative = (np.concatenate(parts) for parts in zip(*nearest, strict=True))
    valid = np.isfinite(match)
    match, negative = match[valid], negative[valid]  # (num_valid,) each
    allowed = _false_accepts(far, len(match))
    ascending = np.sort(negative)
    if allowed < len(ascending):
        threshold = np.nextafter(ascending[allowed], -np.inf)  # below the first to be refused
    else:
        threshold = ascending[-1]
    accepted = (match <= threshold) & (match < negative)
    return OpenSet(float(accepted.mean()), float((negative <= threshold).mean()), float(threshold))


def check_open_set(labels: Labels, far: float) -> None:
    """Check that :func:`open_set` will have queries enough, before there are distances.

    Raises:
        InputError: no query has a match, or there are too few to tell such a rate.
    """
    has_match = (labels.same_pid(rows).match.any(1) for rows in chunks(labels.shape))
    _false_accepts(far, sum(int(each.sum()) for each in has_match))


def _false_accepts(far: float, queries: int) -> int:
    """Number of false accepts at a rate, of queries that have a match; an error if it is 0."""
    allowed = int(far * queries + 1e-9)
    if not allowed:
        raise InputError(
            f"eval.open_set={far:g}: a false-accept rate needs at least {1 / far:,.0f} queries "
            f"with a match, and there are {queries:,}: choose a larger one"
        )
    return allowed


def _nearest(distances: Rows, labels: Labels, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the nearest match and of the nearest negative, (n,) each; inf without one."""
    values = distances[rows]
    is_same = torch.from_numpy(labels.q_pids[rows, None] == labels.g_pids).to(values.device)
    same_camera = torch.from_numpy(labels.q_camids[rows, None] == labels.g_camids)
    is_match = is_same & ~same_camera.to(values.device)
    match = values.masked_fill(~is_match, torch.inf).amin(1)
    negative = values.masked_fill(is_same, torch.inf).amin(1)
    return match.double().cpu().numpy(), negative.double().cpu().numpy()
