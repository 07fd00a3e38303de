"""mAP and rank-1 of each pair of cameras: queries of one camera, gallery images of the other."""

from typing import NamedTuple

import numpy as np
import torch

from reid_dcs.evaluation.distances import Rows, map_chunks
from reid_dcs.evaluation.match_ranks import match_positions
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import average_precision


class CameraPair(NamedTuple):
    """Result of ranking one camera's gallery images for the queries of another camera.

    Attributes:
        query_camera, gallery_camera: camera labels.
        num_valid: number of these queries with a match under the gallery camera.
        mAP: mean average precision over the valid queries.
        rank1: fraction of the valid queries whose nearest image is a match.
    """

    query_camera: int
    gallery_camera: int
    num_valid: int
    mAP: float
    rank1: float


def camera_pairs(distances: Rows, labels: Labels, rule: str = "rectangle") -> list[CameraPair]:
    """Evaluate every pair of query camera and gallery camera on its own.

    Args:
        distances: distance matrix, (num_query, num_gallery).
        labels: identities and cameras of the same images.
        rule: average precision rule; see :func:`~reid_dcs.evaluation.metrics.average_precision`.

    Returns:
        the pairs with at least one valid query, sorted by query camera, then gallery camera.
    """
    cameras = np.unique(labels.g_camids)
    columns = [np.flatnonzero(labels.g_camids == camera) for camera in cameras]
    camera_labels = [
        Labels(labels.q_pids, labels.g_pids[index], labels.q_camids, labels.g_camids[index])
        for index in columns
    ]

    def rank(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and position of the first match, (n, num_cameras) each."""
        chunk = distances[rows]  # (n, num_gallery)
        positions = [
            match_positions(
                chunk[:, torch.from_numpy(index).to(chunk.device)], one_camera.same_pid(rows)
            )
            for index, one_camera in zip(columns, camera_labels, strict=True)
        ]
        precisions = [average_precision(found, rule) for found in positions]
        return np.stack(precisions, 1), np.stack([found[:, 0] for found in positions], 1)

    chunks = map_chunks(rank, distances.shape, distributed=False)
    precision, first_match = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    pairs = []
    for query_camera in np.unique(labels.q_camids):
        of_camera = labels.q_camids == query_camera
        for column, gallery_camera in enumerate(cameras):
            valid = of_camera & (first_match[:, column] > 0)
            if valid.any():
                pair = CameraPair(
                    int(query_camera),
                    int(gallery_camera),
                    num_valid=int(valid.sum()),
                    mAP=float(precision[valid, column].mean()),
                    rank1=float((first_match[valid, column] == 1).mean()),
                )
                pairs.append(pair)
    return pairs
