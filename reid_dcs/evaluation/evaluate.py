"""CMC, mAP and mINP: single query, same identity under the same camera left out.

The distance matrix is looked at a chunk of queries at a time, whatever the size of the gallery.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reid_dcs.evaluation.distances import FeatureDistances, GivenDistances, Rows, by_chunks
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
    """CMC and mAP of a distance matrix: torchreid's ``evaluate_rank``, ties and all.

    Args:
        distmat: (num_query, num_gallery).
        q_pids, g_pids, q_camids, g_camids: identities and cameras, one an image.
        max_rank: length of the CMC curve; at most the size of the gallery, as in torchreid.

    Raises:
        ValueError: labels that do not fit the matrix.
        InputError: no query has a match.
    """
    labels = Labels(q_pids, g_pids, q_camids, g_camids)
    result = rank_gallery(GivenDistances(np.asarray(distmat)), labels).summary(max_rank)
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
    together: bool = False,
) -> RankResult:
    """What :func:`evaluate_rank` finds for the distances between features, and mINP.

    Args:
        qf, gf: features, (num_query, D) and (num_gallery, D).
        q_pids, g_pids, q_camids, g_camids: identities and cameras, one an image.
        metric: ``"cosine"`` or ``"euclidean"``.
        max_rank: length of the CMC curve; at most the size of the gallery.
        device: where to compute; the features' own by default.
        together: every rank of a process group calls this, with the same arguments: they share
            the queries, and each gets the whole result.

    Raises:
        ValueError: an unknown metric, or labels that do not fit the features.
        InputError: no query has a match, or features are not finite.
    """
    distances = FeatureDistances(qf, gf, metric, device)
    labels = Labels(q_pids, g_pids, q_camids, g_camids)
    return rank_gallery(distances, labels, together=together).summary(max_rank)


class Ranked(NamedTuple):
    """A ranking, with the distances and labels that it was computed from."""

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
    """Rank the gallery by the features of a network: the one evaluation of training and commands.

    All processes of a process group call it with the same arguments; they share the queries.

    Args:
        query, gallery: features with identities and cameras.
        metric: ``"cosine"`` or ``"euclidean"``.
        rule, single_shot: see :func:`rank_gallery`.
        rerank: k-reciprocal re-ranking; None for none.
        device: where to compute; by default the device of the features.

    Raises:
        ValueError: an unknown metric or rule.
        InputError: features are not finite.
    """
    vectors = query.vectors, gallery.vectors
    if rerank:
        distances = ReRankedDistances(*vectors, metric, device, rerank, together=True)
    else:
        distances = FeatureDistances(*vectors, metric, device)
    labels = Labels(query.pids, gallery.pids, query.camids, gallery.camids)
    ranking = rank_gallery(distances, labels, rule=rule, single_shot=single_shot, together=True)
    return Ranked(ranking, distances, labels)


def rank_gallery(
    distances: Rows,
    labels: Labels,
    *,
    rule: str = "rectangle",
    single_shot: SingleShot | None = None,
    together: bool = False,
) -> Ranking:
    """Rank the gallery for every query, by chunks.

    Args:
        distances: (num_query, num_gallery): of features, re-ranked, or given.
        rule: of the average precision; see :func:`~reid_dcs.evaluation.metrics.average_precision`.
        single_shot: CUHK03's classic protocol for the CMC curve; None ranks all images.
        together: see :func:`evaluate_features`.

    Raises:
        ValueError: labels that do not fit the distances, or an unknown rule.
    """
    if tuple(distances.shape) != labels.shape:
        raise ValueError(
            f"distances are {tuple(distances.shape)}, identities {labels.shape} (query, gallery)"
        )
    parts = by_chunks(
        lambda rows: _rank_chunk(distances[rows], labels, rows, rule, single_shot),
        distances.shape,
        together,
    )
    longest = single_shot.longest(labels) if single_shot else distances.shape[1]
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)), longest)


def _rank_chunk(
    distances: Tensor, labels: Labels, rows: slice, rule: str, single_shot: SingleShot | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positions = match_positions(distances, labels.relatives(rows))  # (n, P)
    if single_shot:
        first_match = single_shot.first_match(distances, labels, rows)
    else:
        first_match = positions[:, :1]
    return average_precision(positions, rule), inverse_penalty(positions), first_match
