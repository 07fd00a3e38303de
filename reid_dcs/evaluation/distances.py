"""Distances from queries to the gallery: a chunk of rows at a time, never the whole matrix."""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import gathered, share

T = TypeVar("T")

METRICS = ("cosine", "euclidean")
CHUNK = 2**27  # bytes of distances that exist at a time


class Rows(Protocol):
    """A distance matrix (num_query, num_gallery) of which some rows are asked for at a time."""

    shape: tuple[int, int]

    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


class GivenDistances:
    """Rows of a matrix that exists, such as one mapped from a file."""

    def __init__(self, distmat: np.ndarray) -> None:
        self.distmat = distmat
        self.shape = distmat.shape

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return torch.from_numpy(np.array(self.distmat[rows]))


class FeatureDistances:
    """Rows of torchreid's distance matrix: ``distances[a:b]`` is (b - a, num_gallery).

    Cosine distance is 1 - <q, g> of features scaled to length 1, euclidean is squared,
    |q|^2 + |g|^2 - 2 <q, g>; computed in float32, or in float64 if the features are.
    Rows share one buffer: the next ones overwrite the last.

    Args:
        qf, gf: features, (num_query, D) and (num_gallery, D).
        metric: ``"cosine"`` or ``"euclidean"``.
        device: where to compute; the features' own by default.

    Raises:
        ValueError: an unknown metric, or features that do not fit each other.
        InputError: features are not finite.
    """

    def __init__(
        self,
        qf: Tensor,
        gf: Tensor,
        metric: str = "cosine",
        device: torch.device | None = None,
    ) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, not {metric!r}")
        qf, gf = (_checked(features, device) for features in (qf, gf))
        if qf.shape[1] != gf.shape[1]:
            raise ValueError(f"query features have {qf.shape[1]} numbers, gallery {gf.shape[1]}")
        if metric == "cosine":
            qf, gf = F.normalize(qf), F.normalize(gf)
        else:
            self.q_square, self.g_square = (f.square().sum(1) for f in (qf, gf))
        self.qf, self.gf, self.metric = qf, gf, metric
        self.shape = len(qf), len(gf)
        self._buffer = gf.new_empty(0)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        qf = self.qf[rows]  # (n, D)
        size = len(qf) * len(self.gf)
        if self._buffer.numel() < size:
            self._buffer = self.gf.new_empty(size)
        distances = self._buffer[:size].view(len(qf), len(self.gf))
        if self.metric == "cosine":
            return torch.mm(qf, self.gf.T, out=distances).neg_().add_(1)
        torch.add(self.q_square[rows, None], self.g_square, out=distances)
        return distances.addmm_(qf, self.gf.T, alpha=-2)

    def pairs(self, query: Tensor, gallery: Tensor) -> Tensor:
        """Distances of the queries (P,) to a gallery image each, (P,)."""
        product = (self.qf[query] * self.gf[gallery]).sum(1)
        if self.metric == "cosine":
            return 1 - product
        return self.q_square[query] + self.g_square[gallery] - 2 * product


def chunks(shape: tuple[int, int]) -> list[slice]:
    """Rows of a (num_query, num_gallery) matrix: equal chunks, of at most :data:`CHUNK` bytes.

    One row is a chunk where that is more. Equal, because a matrix product rounds the few rows of a
    remainder otherwise than many.
    """
    num_query, num_gallery = shape
    number = -(-num_query // max(1, CHUNK // (4 * num_gallery)))
    edges = [num_query * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if a < b]


def by_chunks(function: Callable[[slice], T], shape: tuple[int, int], together: bool) -> list[T]:
    """What ``function`` gives for each chunk of rows, in order.

    Args:
        together: every rank of a process group calls this: they share the chunks, whole ones, so
            that the products round alike, and each gets all results.
    """
    every = chunks(shape)
    results = [function(rows) for rows in (every[share()] if together else every)]
    if not together:
        return results
    shares = gathered(results)
    return [shares[i % len(shares)][i // len(shares)] for i in range(len(every))]


def _checked(features: Tensor, device: torch.device | None) -> Tensor:
    features = torch.as_tensor(features).detach()
    dtype = torch.promote_types(features.dtype, torch.float32)
    features = features.to(device=device, dtype=dtype)
    if features.ndim != 2 or not features.numel():
        raise ValueError(f"features must be (N, D), not {tuple(features.shape)}")
    if not torch.stack(features.aminmax()).isfinite().all():
        raise InputError("some features are not finite: the model has diverged")
    return features
