"""Positions of the matches in each query's ranked list, without sorting gallery indices.

CMC, average precision and mINP need only the positions of the matches. The position of a match is
1 + the number of closer matches + the number of closer negatives. Counting the closer images takes
the sorted distances of a row but not their argsort, and sorting plain values is several times
faster.

If a negative is exactly as far as a match, the position depends on how ties are broken. torchreid
breaks them as ``numpy.argsort`` does, so the affected rows, and only those, are sorted with it.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from reid_dcs.evaluation.matches import SamePid


def match_positions(distances: Tensor, same_pid: SamePid) -> np.ndarray:
    """Positions of the matches in the ranked lists of n queries, junk excluded.

    Args:
        distances: (n, num_gallery), any dtype that NumPy and PyTorch share.
        same_pid: gallery images with the identity of the same n queries, (n, P).

    Returns:
        (n, P) int64, the 1-based positions of each query's matches in ascending order, padded
        with zeros.
    """
    values = distances if distances.dtype in (torch.float32, torch.float64) else distances.double()
    index, is_match, is_junk = (torch.from_numpy(array).to(values.device) for array in same_pid)
    to_same_pid = values.gather(1, index)  # (n, P)
    to_matches = to_same_pid.masked_fill(~is_match, torch.inf).sort(1).values
    to_same_pid = to_same_pid.masked_fill(~(is_match | is_junk), torch.inf).sort(1).values

    # Count the negatives before each match: all images minus those of the same identity.
    closer, closer_or_tied = _count_closer(values, to_matches)  # (n, P) each
    closer_negatives = closer - torch.searchsorted(to_same_pid, to_matches)
    closer_or_tied_negatives = closer_or_tied - torch.searchsorted(
        to_same_pid, to_matches, right=True
    )

    closer_matches = torch.arange(index.shape[1], device=values.device)  # (P,)
    valid = closer_matches < is_match.sum(1, keepdim=True)  # (n, P), not padding
    positions = torch.where(valid, 1 + closer_matches + closer_negatives, 0).cpu().numpy()
    ambiguous = (closer_or_tied_negatives > closer_negatives) | ~to_matches.isfinite()
    rows = (ambiguous & valid).any(1).nonzero().flatten()
    if len(rows):
        _break_ties(positions, distances[rows].cpu().numpy(), same_pid, rows.cpu().numpy())
    return positions


def _count_closer(distances: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Count the distances of each row below each threshold, and those not above it.

    Args:
        distances: (n, num_gallery).
        thresholds: (n, P), each row in ascending order.

    Returns:
        both counts, (n, P) int64.
    """
    if distances.device.type != "cpu":
        ascending = distances.sort(1).values
        return (
            torch.searchsorted(ascending, thresholds),
            torch.searchsorted(ascending, thresholds, right=True),
        )
    values, limits = distances.numpy(), thresholds.numpy()
    counts = np.empty((2, *limits.shape), dtype=np.int64)

    def count(rows: np.ndarray) -> None:
        ascending = np.empty_like(values[0])  # one row, which stays in the core's cache
        for i in rows:
            ascending[:] = values[i]
            ascending.sort()
            counts[0, i] = np.searchsorted(ascending, limits[i])
            counts[1, i] = np.searchsorted(ascending, limits[i], side="right")

    workers = torch.get_num_threads()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(count, np.array_split(np.arange(len(values)), workers)))
    return torch.from_numpy(counts[0]), torch.from_numpy(counts[1])


def _break_ties(
    positions: np.ndarray, distances: np.ndarray, same_pid: SamePid, rows: np.ndarray
) -> None:
    """Recompute, in place, the positions of the given rows in the order of ``numpy.argsort``.

    Args:
        positions: (n, P), modified in place.
        distances: (len(rows), num_gallery), the distances of those rows.
        same_pid: gallery images with the identity of all n queries.
        rows: indices of the rows to recompute.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        exact = pool.map(_argsort_positions, distances, *(array[rows] for array in same_pid))
        for row, found in zip(rows, exact, strict=True):
            positions[row, : len(found)] = found


def _argsort_positions(
    distances: np.ndarray, index: np.ndarray, is_match: np.ndarray, is_junk: np.ndarray
) -> np.ndarray:
    """Positions of one query's matches, (num_matches,), from an argsort of the whole gallery."""
    rank = np.empty(len(distances), dtype=np.int64)  # of every gallery image, from 0
    rank[np.argsort(distances)] = np.arange(len(distances))
    match_ranks, junk_ranks = np.sort(rank[index[is_match]]), np.sort(rank[index[is_junk]])
    return match_ranks + 1 - np.searchsorted(junk_ranks, match_ranks)
