"""Where re-identification is hard: the evaluation again, from one camera to one other at a time."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid_dcs.evaluation.distances import Rows, by_chunks
from reid_dcs.evaluation.match_ranks import match_positions
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import average_precision


class CameraPair(NamedTuple):
    """What the queries of one camera find among the gallery images of another.

    Attributes:
        query_camera, gallery_camera: as the labels name them.
        num_valid: queries that have a match there.
        mAP: mean average precision of them.
        rank1: the share of them whose nearest image there is a match.
    """

    query_camera: int
    gallery_camera: int
    num_valid: int
    mAP: float
    rank1: float


def camera_pairs(distances: Rows, labels: Labels, rule: str = "rectangle") -> list[CameraPair]:
    """Rank each camera's gallery images alone; single query, every image, ties as everywhere.

    Args:
        distances: (num_query, num_gallery): of features, re-ranked, or given.
        labels: of the same images.
        rule: of the average precision; see :func:`~reid_dcs.evaluation.metrics.average_precision`.

    Returns:
        the pairs in which a query has a match, by query camera, then gallery camera.
    """
    cameras = np.unique(labels.g_camids)
    columns = [np.flatnonzero(labels.g_camids == camera) for camera in cameras]
    parts = [
        Labels(labels.q_pids, labels.g_pids[own], labels.q_camids, labels.g_camids[own])
        for own in columns
    ]

    def rank(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and first match of n queries under each camera, (n, cameras) each."""
        chunk = distances[rows]
        positions = [
            _positions(chunk, own, part, rows) for own, part in zip(columns, parts, strict=True)
        ]
        precision = [average_precision(own, rule) for own in positions]
        return np.stack(precision, 1), np.stack([own[:, 0] for own in positions], 1)

    chunks = by_chunks(rank, distances.shape, together=False)
    precision, first = (np.concatenate(column) for column in zip(*chunks, strict=True))
    pairs = []
    for query_camera in np.unique(labels.q_camids):
        rows = labels.q_camids == query_camera
        for column, gallery_camera in enumerate(cameras):
            valid = rows & (first[:, column] > 0)
            if valid.any():
                mAP = float(precision[valid, column].mean())
                rank1 = float((first[valid, column] == 1).mean())
                cameras_of_it = int(query_camera), int(gallery_camera)
                pairs.append(CameraPair(*cameras_of_it, int(valid.sum()), mAP, rank1))
    return pairs


def _positions(chunk: Tensor, columns: np.ndarray, part: Labels, rows: slice) -> np.ndarray:
    own = chunk[:, torch.from_numpy(columns).to(chunk.device)]
    return match_positions(own, part.relatives(rows))
