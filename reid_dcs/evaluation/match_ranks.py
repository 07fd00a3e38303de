"""Where the matches stand in the ranked list of their query, without ranking the others.

A match stands behind the strangers that are nearer, and that number is all CMC, average precision
and mINP need. Counting them takes the sorted distances of a row, not their order: no index of the
gallery is sorted, and a sort of bare numbers is several times faster.

Where a stranger is exactly as near as a match, the list depends on how ties fall. The rule is
torchreid's: as ``numpy.argsort`` puts them. Those rows, and those alone, are sorted that way.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from reid_dcs.evaluation.matches import Relatives


def match_positions(distances: Tensor, relatives: Relatives) -> np.ndarray:
    """Positions of the matches in the ranked lists of n queries, junk left out.

    Args:
        distances: (n, num_gallery), of any type that NumPy and PyTorch share.
        relatives: of the same queries.

    Returns:
        (n, P) int64: the first, second, ... match's position from 1, then zeros.
    """
    values = distances if distances.dtype in (torch.float32, torch.float64) else distances.double()
    index, match, junk = (torch.from_numpy(array).to(values.device) for array in relatives)
    own = values.gather(1, index)  # (n, P)
    matches = own.masked_fill(~match, torch.inf).sort(1).values
    kin = own.masked_fill(~(match | junk), torch.inf).sort(1).values
    nearer, not_farther = _count(values, matches)  # (n, P)
    strangers_nearer = nearer - torch.searchsorted(kin, matches)
    strangers_not_farther = not_farther - torch.searchsorted(kin, matches, right=True)

    nth = torch.arange(index.shape[1], device=values.device)
    found = nth < match.sum(1, keepdim=True)
    positions = torch.where(found, strangers_nearer + nth + 1, 0).cpu().numpy()
    unclear = (strangers_not_farther > strangers_nearer) | ~matches.isfinite()
    tied = (unclear & found).any(1).nonzero().flatten()
    if len(tied):
        rows, number = distances[tied].cpu().numpy(), tied.cpu().numpy()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            sorted_ = pool.map(_by_argsort, rows, *(array[number] for array in relatives))
            for i, own in zip(number, sorted_, strict=True):
                positions[i, : len(own)] = own
    return positions


def _count(distances: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """How many of each row's distances are below each value, and how many not above it.

    distances (n, num_gallery); values (n, P), sorted; both results (n, P) int64.
    """
    if distances.device.type != "cpu":
        ordered = distances.sort(1).values
        return torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)
    distances, values = distances.numpy(), values.numpy()
    counts = np.empty((2, *values.shape), dtype=np.int64)

    def count(rows: np.ndarray) -> None:
        ordered = np.empty_like(distances[0])  # stays in the core's cache, as PyTorch's would not
        for i in rows:
            ordered[:] = distances[i]
            ordered.sort()
            counts[0, i] = np.searchsorted(ordered, values[i])
            counts[1, i] = np.searchsorted(ordered, values[i], side="right")

    workers = torch.get_num_threads()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(count, np.array_split(np.arange(len(distances)), workers)))
    return torch.from_numpy(counts[0]), torch.from_numpy(counts[1])


def _by_argsort(
    row: np.ndarray, index: np.ndarray, match: np.ndarray, junk: np.ndarray
) -> np.ndarray:
    """Positions of one query's matches, (num_matches,), from the order of the whole gallery."""
    place = np.empty(len(row), dtype=np.int64)
    place[np.argsort(row)] = np.arange(len(row))
    places = np.sort(place[index[match]])
    return places + 1 - np.searchsorted(np.sort(place[index[junk]]), places)
