"""Verification: is it the same person? False- and true-accept rates of a distance threshold.

Two images are accepted as the same person if their distance is at most the threshold. The
false-accept rate (FAR) is the fraction of accepted pairs of different people, the true-accept rate
(TAR) that of pairs of one person under different cameras. Pairs are counted in fine bins of the
distance, so that memory does not grow with their number.
"""

from dataclasses import dataclass

import numpy as np
import torch

from reid_dcs.errors import InputError
from reid_dcs.evaluation.distances import Rows, chunks
from reid_dcs.evaluation.matches import Labels

BINS = 2**18
LOWEST, HIGHEST = -0.001, 2.001  # of cosine distances, with room for rounding


@dataclass(frozen=True)
class Verification:
    """Numbers of pairs by distance.

    Attributes:
        same, different: (BINS,) int64, pairs of one person, of two people.
    """

    same: np.ndarray
    different: np.ndarray

    def rates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Thresholds, the upper edges of the bins, with FAR and TAR at each; (BINS,) each."""
        edges = np.linspace(LOWEST, HIGHEST, BINS + 1)[1:]
        return (
            edges,
            self.different.cumsum() / self.different.sum(),
            self.same.cumsum() / self.same.sum(),
        )

    def threshold(self, far: float) -> tuple[float, float, float]:
        """The largest threshold whose FAR does not exceed the wanted one.

        Returns:
            the threshold, its FAR and its TAR.

        Raises:
            InputError: too few pairs of different people to tell such a rate.
        """
        pairs = int(self.different.sum())
        if far * pairs < 1:
            raise InputError(
                f"a false-accept rate of {far:g} needs at least {1 / far:,.0f} pairs of different "
                f"people, and there are {pairs:,}: use a larger data set or a larger rate"
            )
        edges, false_accepts, true_accepts = self.rates()
        index = int(np.searchsorted(false_accepts, far, side="right")) - 1
        if index < 0:
            return LOWEST, 0.0, 0.0
        return float(edges[index]), float(false_accepts[index]), float(true_accepts[index])


def verification(distances: Rows, labels: Labels) -> Verification:
    """Count the pairs of query and gallery images by cosine distance, without junk.

    Args:
        distances: (num_query, num_gallery), cosine.
        labels: identities and cameras of the same images.

    Raises:
        InputError: there is no pair of one person, or none of two people.
    """
    same = np.zeros(BINS, dtype=np.int64)
    different = np.zeros(BINS, dtype=np.int64)
    for rows in chunks((int(distances.shape[0]), int(distances.shape[1]))):
        values = distances[rows].cpu().numpy()  # (n, num_gallery)
        is_same = labels.q_pids[rows, None] == labels.g_pids
        is_junk = is_same & (labels.q_camids[rows, None] == labels.g_camids)
        same += _histogram(values[is_same & ~is_junk])
        different += _histogram(values[~is_same])
    if not same.sum() or not different.sum():
        raise InputError(
            "no pair of one person under two cameras, or none of two people: check the identities "
            "and cameras of query and gallery"
        )
    return Verification(same, different)


def _histogram(values: np.ndarray) -> np.ndarray:
    return torch.histc(torch.from_numpy(values).double(), BINS, LOWEST, HIGHEST).numpy().astype(int)
