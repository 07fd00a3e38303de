"""Labels of query and gallery, and the gallery images that share a query's identity."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class SamePid(NamedTuple):
    """Gallery images with the identity of each of n queries, padded to the longest row.

    Attributes:
        gallery: (n, P) int64, gallery indices; arbitrary where both masks are False (padding).
        match: (n, P) bool, images from other cameras than the query's: its matches.
        junk: (n, P) bool, images from the query's camera: excluded from its ranked list.
    """

    gallery: np.ndarray
    match: np.ndarray
    junk: np.ndarray


class Labels:
    """Identities and cameras of query and gallery images; any comparable values.

    Args:
        q_pids, q_camids: identity and camera of each query image, (num_query,).
        g_pids, g_camids: identity and camera of each gallery image, (num_gallery,).

    Raises:
        ValueError: identities and cameras of one side differ in length.
    """

    def __init__(
        self, q_pids: ArrayLike, g_pids: ArrayLike, q_camids: ArrayLike, g_camids: ArrayLike
    ) -> None:
        self.q_pids, self.g_pids = np.asarray(q_pids), np.asarray(g_pids)
        self.q_camids, self.g_camids = np.asarray(q_camids), np.asarray(g_camids)
        for side in ("q", "g"):
            pids, camids = getattr(self, f"{side}_pids"), getattr(self, f"{side}_camids")
            if pids.shape != camids.shape or pids.ndim != 1:
                shapes = f"{side}_pids {pids.shape} and {side}_camids {camids.shape}"
                raise ValueError(f"{shapes} must be one-dimensional and of equal length")
        # Gallery indices sorted by identity: those of each query's identity are one run.
        self._by_pid = np.argsort(self.g_pids, kind="stable")
        sorted_pids = self.g_pids[self._by_pid]
        self._run_start = np.searchsorted(sorted_pids, self.q_pids)  # (num_query,)
        run_end = np.searchsorted(sorted_pids, self.q_pids, side="right")
        self._run_length = run_end - self._run_start

    @property
    def shape(self) -> tuple[int, int]:
        """(num_query, num_gallery)."""
        return len(self.q_pids), len(self.g_pids)

    def same_pid(self, rows: slice | np.ndarray) -> SamePid:
        """Gallery images with the identity of each query in ``rows``."""
        start, length = self._run_start[rows, None], self._run_length[rows, None]  # (n, 1)
        column = np.arange(max(1, length.max(initial=0)))
        in_run = column < length  # (n, P)
        index = self._by_pid[np.where(in_run, start + column, 0)]
        same_camera = self.g_camids[index] == self.q_camids[rows, None]
        return SamePid(index, in_run & ~same_camera, in_run & same_camera)
