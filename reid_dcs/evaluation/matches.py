"""Which gallery images show a query's person: its matches, and those left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Relatives(NamedTuple):
    """Of n queries: gallery images of the same identity, padded to the P of the most frequent.

    Attributes:
        index: (n, P) int64, into the gallery; anything where neither of the others holds.
        match: (n, P) bool, under another camera: what the query should find.
        junk: (n, P) bool, under the query's own camera: taken out of its ranked list.
    """

    index: np.ndarray
    match: np.ndarray
    junk: np.ndarray


class Labels:
    """Identities and cameras of both sides, one an image; any values that compare.

    Raises:
        ValueError: an identity without a camera, or the reverse.
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
                raise ValueError(f"{shapes} must be of one length")
        self._by_pid = np.argsort(self.g_pids, kind="stable")
        pids = self.g_pids[self._by_pid]
        self._first = np.searchsorted(pids, self.q_pids)  # (num_query,)
        self._number = np.searchsorted(pids, self.q_pids, side="right") - self._first

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.q_pids), len(self.g_pids)

    def relatives(self, rows: slice | np.ndarray) -> Relatives:
        first, number = self._first[rows, None], self._number[rows, None]
        column = np.arange(max(1, number.max(initial=0)))
        there = column < number  # (n, P)
        index = self._by_pid[np.where(there, first + column, 0)]
        same_camera = self.g_camids[index] == self.q_camids[rows, None]
        return Relatives(index, there & ~same_camera, there & same_camera)
