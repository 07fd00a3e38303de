"""Query-gallery distances, computed a chunk of rows at a time instead of as a whole matrix."""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import gathered, rank_slice

T = TypeVar("T")

METRICS = ("cosine", "euclidean")
CHUNK_BYTES = 2**27  # memory for one chunk of float32 distances


class Rows(Protocol):
    """A distance matrix (num_query, num_gallery) of which only indexed rows are computed."""

    shape: tuple[int, int]

    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


class MatrixDistances:
    """Rows of an existing matrix, such as one memory-mapped from a file.

    Args:
        distmat: (num_query, num_gallery).
    """

    def __init__(self, distmat: np.ndarray) -> None:
        self.distmat = distmat
        self.shape = distmat.shape

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return torch.from_numpy(np.array(self.distmat[rows]))


class FeatureDistances:
    """Rows of torchreid's distance matrix: ``distances[a:b]`` is (b - a, num_gallery).

    Cosine distance is 1 - <q, g> of L2-normalized features. Euclidean distance is squared:
    |q|^2 + |g|^2 - 2 <q, g>. Computed in float32, or in float64 for float64 features.
    All results share one buffer: each call overwrites the result of the previous one.

    Args:
        qf: query features, (num_query, D).
        gf: gallery features, (num_gallery, D).
        metric: ``"cosine"`` or ``"euclidean"``.
        device: device that computes the distances; default: the device of the features.

    Raises:
        ValueError: unknown metric, or features of wrong or different shapes.
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
        qf, gf = (_to_floats(features, device) for features in (qf, gf))
        if qf.shape[1] != gf.shape[1]:
            raise ValueError(
                f"query features have {qf.shape[1]} dimensions, gallery features {gf.shape[1]}"
            )
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
        """Distances of single pairs.

        Args:
            query, gallery: (P,) indices of the pairs.

        Returns:
            (P,) distances.
        """
        product = (self.qf[query] * self.gf[gallery]).sum(1)
        if self.metric == "cosine":
            return 1 - product
        return self.q_square[query] + self.g_square[gallery] - 2 * product


def chunks(shape: tuple[int, int]) -> list[slice]:
    """Split the rows of a matrix into chunks of equal size, at most :data:`CHUNK_BYTES` each.

    A chunk has at least one row. Sizes are equal because a matrix product over a few remaining
    rows may round differently from one over many.

    Args:
        shape: (num_query, num_gallery), in float32.

    Raises:
        ValueError: there are no queries, or the gallery is empty.
    """
    num_query, num_gallery = shape
    if not num_query or not num_gallery:
        raise ValueError(f"{num_query} query and {num_gallery} gallery images: none to compare")
    count = -(-num_query // max(1, CHUNK_BYTES // (4 * num_gallery)))
    edges = [num_query * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if a < b]


def map_chunks(
    function: Callable[[slice], T], shape: tuple[int, int], distributed: bool
) -> list[T]:
    """Apply ``function`` to each chunk of rows.

    Args:
        function: maps a slice of rows to a picklable result.
        shape: (num_query, num_gallery).
        distributed: split the chunks over the ranks of the process group. Every rank must call
            this. Chunks stay whole, so the results are those of a single process.

    Returns:
        the results of all chunks in order, on every rank.
    """
    all_chunks = chunks(shape)
    if not distributed:
        return [function(rows) for rows in all_chunks]
    by_rank = gathered([function(rows) for rows in all_chunks[rank_slice()]])
    return [by_rank[i % len(by_rank)][i // len(by_rank)] for i in range(len(all_chunks))]


def _to_floats(features: Tensor, device: torch.device | None) -> Tensor:
    """Features in float32 or float64 on the device, (N, D), checked."""
    features = torch.as_tensor(features).detach()
    dtype = torch.promote_types(features.dtype, torch.float32)
    features = features.to(device=device, dtype=dtype)
    if features.ndim != 2 or not features.numel():
        raise ValueError(f"features must be (N, D), not {tuple(features.shape)}")
    if not torch.stack(features.aminmax()).isfinite().all():
        raise InputError(
            "features are not finite: the model has diverged; use an earlier checkpoint or train "
            "with a lower train.learning_rate"
        )
    return features
