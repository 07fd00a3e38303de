"""CUHK03's classic protocol: the gallery holds one image a person, drawn anew several times."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reid_dcs.evaluation.matches import Labels


@dataclass(frozen=True)
class SingleShot:
    """Single gallery shot (Li et al., CVPR 2014), as torchreid repeats it for every query.

    Of every identity one image stays in the gallery, drawn from those that are not the query's
    junk. The CMC curve is the mean over the draws; average precision and mINP are of all images.
    A query draws by the seed and its own number, whoever computes it.

    Attributes:
        draws: galleries drawn for each query.
        seed: of the draws.
    """

    draws: int = 10
    seed: int = 0

    def longest(self, labels: Labels) -> int:
        return len(np.unique(labels.g_pids))

    def first_match(self, distances: Tensor, labels: Labels, rows: slice) -> np.ndarray:
        """Positions from 1 of the one match, (n, draws) int64; 0 without a match.

        Args:
            distances: (n, num_gallery), of the queries ``rows``.
        """
        numbers = range(*rows.indices(len(labels.q_pids)))
        found = [
            self._of_query(row, labels, query)
            for row, query in zip(distances.cpu().numpy(), numbers, strict=True)
        ]
        return np.stack(found)

    def _of_query(self, row: np.ndarray, labels: Labels, query: int) -> np.ndarray:
        pid = labels.q_pids[query]
        order = np.argsort(row)  # ties as everywhere
        pids = labels.g_pids[order]
        junk = (pids == pid) & (labels.g_camids[order] == labels.q_camids[query])
        pids = pids[~junk]
        identities, number = np.unique(pids, return_counts=True)
        if not (pids == pid).any():
            return np.zeros(self.draws, dtype=np.int64)
        by_pid = np.argsort(pids, kind="stable")  # places in the ranked list, person by person
        first = number.cumsum() - number
        random = np.random.default_rng((self.seed, query))
        drawn = by_pid[first + random.integers(number, size=(self.draws, len(number)))]
        match = drawn[:, identities == pid]  # (draws, 1)
        return (drawn <= match).sum(1)
