"""CMC, mAP and mINP under the single-query protocol: same identity, same camera is excluded.

The distance matrix is processed in chunks of queries, so memory does not grow with the gallery.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.evaluation.distances import FeatureDistances, MatrixDistances, Rows, map_chunks
from reid_dcs.evaluation.features import Features
from reid_dcs.evaluation.match_ranks import match_positions
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import Ranking, RankResult, average_precision, inverse_penalty
from reid_dcs.evaluation.rerank import KReciprocal, ReRankedDistances
from reid_dcs.evaluation.single_shot import SingleShot


def evaluate_rank(
    distmat: ArrayLike,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_camids: ArrayLike,
    g_camids: ArrayLike,
    max_rank: int = 50,
) -> tuple[np.ndarray, float]:
    """CMC and mAP of a distance matrix, equal to torchreid's ``evaluate_rank``, ties included.

    Args:
        distmat: distances, (num_query, num_gallery).
        q_pids, q_camids: identity and camera of each query image, (num_query,).
        g_pids, g_camids: identity and camera of each gallery image, (num_gallery,).
        max_rank: length of the CMC curve, limited to num_gallery as in torchreid.

    Returns:
        the CMC curve, (max_rank,) float32, and mAP.

    Raises:
        ValueError: the labels do not have the shape of the matrix, or query or gallery is empty.
        InputError: no query has a match, or a distance is not a number.
    """
    labels = Labels(q_pids, g_pids, q_camids, g_camids)
    result = rank_gallery(MatrixDistances(np.asarray(distmat)), labels).summary(max_rank)
    return result.cmc, result.mAP


def evaluate_features(
    qf: Tensor,
    gf: Tensor,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_camids: ArrayLike,
    g_camids: ArrayLike,
    metric: str = "cosine",
    max_rank: int = 50,
    *,
    device: torch.device | None = None,
) -> RankResult:
    """CMC, mAP and mINP of query and gallery features.

    Args:
        qf: query features, (num_query, D).
        gf: gallery features, (num_gallery, D).
        q_pids, q_camids: identity and camera of each query image, (num_query,).
        g_pids, g_camids: identity and camera of each gallery image, (num_gallery,).
        metric: ``"cosine"`` or ``"euclidean"``.
        max_rank: length of the CMC curve, limited to num_gallery.
        device: device that computes the distances; default: the device of the features.

    Raises:
        ValueError: unknown metric, or the labels do not have the shape of the features.
        InputError: no query has a match, or features are not finite.
    """
    distances = FeatureDistances(qf, gf, metric, device)
    labels = Labels(q_pids, g_pids, q_camids, g_camids)
    return rank_gallery(distances, labels).summary(max_rank)


class Ranked(NamedTuple):
    """A ranking, and the distances and labels it was computed from."""

    ranking: Ranking
    distances: Rows
    labels: Labels


def rank_features(
    query: Features,
    gallery: Features,
    metric: str = "cosine",
    *,
    rule: str = "rectangle",
    rerank: KReciprocal | None = None,
    single_shot: SingleShot | None = None,
    device: torch.device | None = None,
) -> Ranked:
    """Rank the gallery by features; used by training and by all commands.

    The queries are split over the ranks of the process group, if there is one. Every rank must
    call this with the same arguments, and every rank gets the whole result.

    Args:
        query, gallery: features with identities and cameras.
        metric: ``"cosine"`` or ``"euclidean"``.
        rule, single_shot: see :func:`rank_gallery`.
        rerank: parameters of k-reciprocal re-ranking; None disables it.
        device: device that computes the distances; default: the device of the features.

    Raises:
        ValueError: unknown metric or rule.
        InputError: features are not finite.
    """
    vectors = query.vectors, gallery.vectors
    distances: Rows
    if rerank:
        distances = ReRankedDistances(*vectors, metric, device, rerank, distributed=True)
    else:
        distances = FeatureDistances(*vectors, metric, device)
    labels = Labels(query.pids, gallery.pids, query.camids, gallery.camids)
    ranking = rank_gallery(distances, labels, rule=rule, single_shot=single_shot, distributed=True)
    return Ranked(ranking, distances, labels)


def rank_gallery(
    distances: Rows,
    labels: Labels,
    *,
    rule: str = "rectangle",
    single_shot: SingleShot | None = None,
    distributed: bool = False,
) -> Ranking:
    """Rank the gallery for every query, a chunk of queries at a time.

    Args:
        distances: distance matrix, (num_query, num_gallery).
        labels: identities and cameras of the same images.
        rule: average precision rule; see :func:`~reid_dcs.evaluation.metrics.average_precision`.
        single_shot: CUHK03's classic protocol for the CMC curve; None ranks the whole gallery.
        distributed: split the queries over the ranks of the process group; see
            :func:`~reid_dcs.evaluation.distances.map_chunks`.

    Raises:
        ValueError: the labels do not have the shape of the distances, query or gallery is empty,
            or unknown rule.
    """
    if tuple(distances.shape) != labels.shape:
        raise ValueError(
            f"distances are {tuple(distances.shape)}, identities {labels.shape} (query, gallery)"
        )

    def rank(rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _rank_chunk(distances[rows], labels, rows, rule, single_shot)

    chunks = map_chunks(rank, distances.shape, distributed)
    precision, penalty, first = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    max_length = single_shot.gallery_size(labels) if single_shot else distances.shape[1]
    return Ranking(precision, penalty, first, max_length)


def _rank_chunk(
    distances: Tensor, labels: Labels, rows: slice, rule: str, single_shot: SingleShot | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision (n,), inverse penalty (n,) and first match (n, draws) of the queries."""
    if distances.isnan().any():
        raise InputError(
            "distances are not numbers (NaN): the features are too large or not finite; use other "
            "weights"
        )
    positions = match_positions(distances, labels.same_pid(rows))  # (n, P)
    if single_shot:
        first_match = single_shot.first_match(distances, labels, rows)
    else:
        first_match = positions[:, :1]
    return average_precision(positions, rule), inverse_penalty(positions), first_match
