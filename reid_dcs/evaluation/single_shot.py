"""CUHK03's classic protocol: single-shot galleries, one random image per identity, drawn often."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reid_dcs.evaluation.matches import Labels


@dataclass(frozen=True)
class SingleShot:
    """Single-gallery-shot CMC (Li et al., CVPR 2014), repeated for each query as in torchreid.

    Each draw keeps one random gallery image of every identity, after the query's junk is
    excluded. The CMC curve is the mean over all draws; average precision and mINP still use the
    whole gallery. The generator of a query is seeded with ``(seed, query)``, so results do not
    depend on chunks or processes.

    Attributes:
        draws: number of galleries drawn for each query.
        seed: random seed.
    """

    draws: int = 10
    seed: int = 0

    def gallery_size(self, labels: Labels) -> int:
        """Number of images in a drawn gallery: the number of gallery identities."""
        return len(np.unique(labels.g_pids))

    def first_match(self, distances: Tensor, labels: Labels, rows: slice) -> np.ndarray:
        """Positions of the single match in each drawn gallery.

        Args:
            distances: (n, num_gallery), distances of the queries in ``rows``.
            labels: labels of all query and gallery images.
            rows: indices of the n queries.

        Returns:
            (n, draws) int64, 1-based; 0 for a query without a match.
        """
        queries = range(*rows.indices(len(labels.q_pids)))
        positions = [
            self._positions(row, labels, query)
            for row, query in zip(distances.cpu().numpy(), queries, strict=True)
        ]
        return np.stack(positions)

    def _positions(self, row: np.ndarray, labels: Labels, query: int) -> np.ndarray:
        """Positions of one query's match, (draws,)."""
        pid = labels.q_pids[query]
        order = np.argsort(row)  # ties are broken as in match_ranks
        pids = labels.g_pids[order]
        junk = (pids == pid) & (labels.g_camids[order] == labels.q_camids[query])
        pids = pids[~junk]  # identities along the ranked list
        if not (pids == pid).any():
            return np.zeros(self.draws, dtype=np.int64)
        identities, count = np.unique(pids, return_counts=True)
        by_pid = np.argsort(pids, kind="stable")  # ranks in the list, grouped by identity
        group_start = count.cumsum() - count
        random = np.random.default_rng((self.seed, query))
        choice = random.integers(count, size=(self.draws, len(count)))
        ranks = by_pid[group_start + choice]  # (draws, num_identities)
        match_rank = ranks[:, identities == pid]  # (draws, 1)
        return (ranks <= match_rank).sum(1)
