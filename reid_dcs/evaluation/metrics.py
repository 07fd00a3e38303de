"""CMC, average precision and inverse negative penalty from the positions of the matches."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reid_dcs.errors import InputError

AVERAGE_PRECISIONS = ("rectangle", "trapezoid")


class RankResult(NamedTuple):
    """Metrics of an evaluation, averaged over the valid queries: those that have a match.

    Attributes:
        cmc: (max_rank,) float32; ``cmc[k - 1]`` is the fraction of queries with a match among
            the first k gallery images.
        mAP: mean average precision.
        mINP: mean inverse negative penalty (Ye et al., 2021).
        num_valid: number of valid queries.
    """

    cmc: np.ndarray
    mAP: float
    mINP: float
    num_valid: int

    def metrics(self) -> dict[str, float]:
        """mAP, rank-1, -5 and -10, and mINP, as fractions by name."""
        ranks = {f"rank{k}": float(self.cmc[min(k, len(self.cmc)) - 1]) for k in (1, 5, 10)}
        return {"mAP": self.mAP, **ranks, "mINP": self.mINP}


@dataclass(frozen=True)
class Ranking:
    """Metrics of each query, in query order; NaN, NaN and 0 for a query without a match.

    Attributes:
        average_precision: (num_query,) float64.
        inverse_penalty: (num_query,) float64, number of matches / position of the last match.
        first_match: (num_query, draws) int64, 1-based position of the first match; ``draws`` is
            1 except with :mod:`reid_dcs.evaluation.single_shot`.
        max_length: length of the longest possible ranked list, which bounds the CMC curve.
    """

    average_precision: np.ndarray
    inverse_penalty: np.ndarray
    first_match: np.ndarray
    max_length: int

    def summary(self, max_rank: int = 50) -> RankResult:
        """Average over the valid queries.

        Args:
            max_rank: length of the CMC curve, limited to ``max_length``.

        Raises:
            InputError: no query has a match.
        """
        valid = self.first_match[:, 0] > 0
        num_valid = int(valid.sum())
        if not num_valid:
            raise InputError(
                "no query has a match under another camera in the gallery: "
                "check the identities and cameras of both splits"
            )
        length = min(max_rank, self.max_length)
        first_match = self.first_match[valid]  # (num_valid, draws)
        hits = np.bincount(first_match.ravel(), minlength=length + 1)[1 : length + 1].cumsum()
        cmc = hits.astype(np.float32) / float(first_match.size)
        mAP = float(np.mean(self.average_precision[valid]))
        mINP = float(np.mean(self.inverse_penalty[valid]))
        return RankResult(cmc, mAP, mINP, num_valid)


def average_precision(positions: np.ndarray, rule: str = "rectangle") -> np.ndarray:
    """Area under the precision-recall curve of each query.

    Let p_k = k / position_k be the precision at the k-th of K matches. ``rectangle`` is the usual
    definition, the mean of p_k. ``trapezoid`` is that of Market-1501's MATLAB code: the mean of
    (p'_k + p_k) / 2, where p'_k is the precision one position earlier (1 before the first).

    Args:
        positions: (n, P), from :func:`~reid_dcs.evaluation.match_ranks.match_positions`.
        rule: one of :data:`AVERAGE_PRECISIONS`.

    Returns:
        (n,) float64, NaN for a query without a match.

    Raises:
        ValueError: unknown rule.
    """
    if rule not in AVERAGE_PRECISIONS:
        raise ValueError(f"average precision must be one of {AVERAGE_PRECISIONS}, not {rule!r}")
    is_match = positions > 0
    k = np.arange(1, positions.shape[1] + 1)
    precision = k / np.maximum(positions, 1)
    if rule == "trapezoid":
        earlier = np.where(positions > 1, (k - 1) / np.maximum(positions - 1, 1), 1)
        precision = (earlier + precision) / 2
    with np.errstate(invalid="ignore"):
        return (precision * is_match).sum(1) / is_match.sum(1)


def inverse_penalty(positions: np.ndarray) -> np.ndarray:
    """Number of matches / position of the last match, (n,) float64; NaN without a match."""
    with np.errstate(invalid="ignore"):
        return (positions > 0).sum(1) / positions.max(1)
