"""What each query's ranked list is worth, and what all of them are worth together."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reid_dcs.errors import InputError

AVERAGE_PRECISIONS = ("rectangle", "trapezoid")


class RankResult(NamedTuple):
    """What an evaluation finds.

    Attributes:
        cmc: (max_rank,) float, ``cmc[k - 1]`` the share of queries with a match in the first k.
        mAP: mean average precision.
        mINP: mean inverse negative penalty (Ye et al., 2021): matches over the rank of the last.
        num_valid: queries that have a match at all; the others do not count.
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
    """Query by query, in the order given; a query without a match has NaN, NaN and 0.

    Attributes:
        average_precision: (num_query,) float64.
        inverse_penalty: (num_query,) float64, matches over the position of the last.
        first_match: (num_query, draws) int64, its position from 1; one draw, but for
            :mod:`reid_dcs.evaluation.single_shot`.
        longest: of the ranked lists; a CMC curve is no longer.
    """

    average_precision: np.ndarray
    inverse_penalty: np.ndarray
    first_match: np.ndarray
    longest: int

    def summary(self, max_rank: int = 50) -> RankResult:
        """The means over the queries that have a match.

        Args:
            max_rank: length of the CMC curve, at most that of the ranked lists.

        Raises:
            InputError: no query has a match.
        """
        valid = self.first_match[:, 0] > 0
        num_valid = int(valid.sum())
        if not num_valid:
            raise InputError(
                "no query has a match under another camera: query and gallery share no identity"
            )
        length = min(max_rank, self.longest)
        first = self.first_match[valid]  # (num_valid, draws)
        hits = np.bincount(first.ravel(), minlength=length + 1)[1 : length + 1].cumsum()
        cmc = hits.astype(np.float32) / float(first.size)
        mAP, mINP = (
            float(np.mean(each[valid])) for each in (self.average_precision, self.inverse_penalty)
        )
        return RankResult(cmc, mAP, mINP, num_valid)


def average_precision(positions: np.ndarray, rule: str = "rectangle") -> np.ndarray:
    """The area under precision and recall, of n queries.

    With p_k = k / position of the k-th of K matches, the precision there, ``rectangle`` is the
    field's mean of p_k. ``trapezoid`` is that of Market-1501's own MATLAB code: the mean of
    (p'_k + p_k) / 2, where p'_k is the precision one place before, and 1 before the first place.

    Args:
        positions: (n, P), as :func:`~reid_dcs.evaluation.match_ranks.match_positions` gives.
        rule: one of :data:`AVERAGE_PRECISIONS`.

    Returns:
        (n,) float64, NaN without a match.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in AVERAGE_PRECISIONS:
        raise ValueError(f"average precision must be one of {AVERAGE_PRECISIONS}, not {rule!r}")
    found = positions > 0
    nth = np.arange(1, positions.shape[1] + 1)
    precision = nth / np.maximum(positions, 1)
    if rule == "trapezoid":
        before = np.where(positions > 1, (nth - 1) / np.maximum(positions - 1, 1), 1)
        precision = (before + precision) / 2
    with np.errstate(invalid="ignore"):
        return (precision * found).sum(1) / found.sum(1)


def inverse_penalty(positions: np.ndarray) -> np.ndarray:
    """The number of matches over the position of the last, (n,) float64, NaN without a match."""
    with np.errstate(invalid="ignore"):
        return (positions > 0).sum(1) / positions.max(1)
