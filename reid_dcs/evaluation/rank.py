"""CMC, mAP and mINP: single query, no re-ranking, same identity under the same camera left out."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reid_dcs.errors import InputError

METRICS = ("cosine", "euclidean")


class RankResult(NamedTuple):
    """What an evaluation finds.

    Attributes:
        cmc: (max_rank,) float, ``cmc[k - 1]`` the share of queries with a match in the first k.
        mAP: mean average precision, by the field's rectangle rule.
        mINP: mean inverse negative penalty (Ye et al., 2021): matches over the rank of the last.
        num_valid: queries that have a match at all; the others do not count.
    """

    cmc: np.ndarray
    mAP: float
    mINP: float
    num_valid: int


class _Tally:
    """Gathers the queries' results, a chunk of distance rows at a time."""

    def __init__(self, g_pids: np.ndarray, g_camids: np.ndarray, max_rank: int) -> None:
        self.g_pids, self.g_camids = np.asarray(g_pids), np.asarray(g_camids)
        self.max_rank = max_rank
        self.cmc: list[np.ndarray] = []
        self.average_precision: list[float] = []
        self.inverse_penalty: list[float] = []

    def add(self, distances: np.ndarray, q_pids: np.ndarray, q_camids: np.ndarray) -> None:
        """distances (n, num_gallery) of n queries."""
        if not distances.shape[1] == len(self.g_pids) == len(self.g_camids):
            raise ValueError(f"{distances.shape[1]} gallery images, {len(self.g_pids)} identities")
        order = np.argsort(distances, axis=1)  # (n, num_gallery)
        for nearest, pid, camid in zip(order, q_pids, q_camids, strict=True):
            same_pid = self.g_pids[nearest] == pid
            matches = same_pid[~(same_pid & (self.g_camids[nearest] == camid))]
            if matches.any():
                self._add_query(matches)

    def _add_query(self, matches: np.ndarray) -> None:
        """matches: bool, the gallery in the order of distance, a match or not."""
        found = matches.cumsum()
        precision = found / np.arange(1.0, len(found) + 1)
        total = found[-1]
        self.average_precision.append((precision * matches).sum() / total)
        self.inverse_penalty.append(total / (np.flatnonzero(matches)[-1] + 1))
        hit = np.ones(self.max_rank, dtype=np.float32)  # past a short gallery the match is behind
        hit[: len(found)] = found[: self.max_rank] > 0
        self.cmc.append(hit)

    def result(self) -> RankResult:
        if not self.cmc:
            raise InputError(
                "no query has a match under another camera: query and gallery share no identity"
            )
        num_valid = len(self.cmc)
        cmc = np.asarray(self.cmc).sum(0) / float(num_valid)
        mAP, mINP = np.mean(self.average_precision), np.mean(self.inverse_penalty)
        return RankResult(cmc, float(mAP), float(mINP), num_valid)


def evaluate_rank(
    distmat: np.ndarray,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    max_rank: int = 50,
) -> tuple[np.ndarray, float]:
    """CMC and mAP of a distance matrix: torchreid's ``evaluate_rank``, number for number.

    Args:
        distmat: (num_query, num_gallery).
        q_pids, g_pids, q_camids, g_camids: identities and cameras, one an image.
        max_rank: length of the CMC curve; at most the size of the gallery, as in torchreid.

    Raises:
        InputError: no query has a match.
    """
    tally = _Tally(g_pids, g_camids, min(max_rank, distmat.shape[1]))
    q_pids, q_camids = np.asarray(q_pids), np.asarray(q_camids)
    for rows in _chunks(len(distmat)):
        tally.add(distmat[rows], q_pids[rows], q_camids[rows])
    result = tally.result()
    return result.cmc, result.mAP


def evaluate_features(
    qf: Tensor,
    gf: Tensor,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    metric: str = "cosine",
    max_rank: int = 50,
) -> RankResult:
    """Rank the gallery for every query, by chunks: the whole distance matrix never exists.

    Args:
        qf, gf: features, (num_query, D) and (num_gallery, D).
        q_pids, g_pids, q_camids, g_camids: identities and cameras, one an image.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_rank: length of the CMC curve; at most the size of the gallery.

    Raises:
        ValueError: an unknown metric.
        InputError: no query has a match, or features are not finite.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, not {metric!r}")
    qf, gf = torch.as_tensor(qf).detach().float(), torch.as_tensor(gf).detach().float()
    if not (qf.isfinite().all() and gf.isfinite().all()):
        raise InputError("some features are not finite: the model has diverged")
    if metric == "cosine":
        qf, gf = F.normalize(qf), F.normalize(gf)
    # |q - g|^2 up to |q|^2, which is the same along a row; for unit vectors the cosine's order
    offset = gf.square().sum(1) if metric == "euclidean" else 0
    tally = _Tally(g_pids, g_camids, min(max_rank, len(gf)))
    q_pids, q_camids = np.asarray(q_pids), np.asarray(q_camids)
    for rows in _chunks(len(qf)):
        distances = (offset - 2 * qf[rows] @ gf.T).cpu().numpy()
        tally.add(distances, q_pids[rows], q_camids[rows])
    return tally.result()


def _chunks(queries: int, size: int = 256) -> list[slice]:
    return [slice(i, i + size) for i in range(0, queries, size)]
