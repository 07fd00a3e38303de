"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) with sparse matrices, in chunks of rows.

Each image is encoded by its k-reciprocal neighbors: the images for which both are among each
other's k nearest. The re-ranked distance of a query and a gallery image is a weighted sum of
their original distance and the Jaccard distance of their encodings. The encodings of all N images,
query and gallery, are sparse (N, N) matrices; dense N x N distances exist only a chunk of rows at
a time.

Re-ranking raises mAP considerably, at a cost that grows with N^2. Results with and without it are
not comparable; the paper reports none with it, and it is off by default.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reid_dcs.evaluation.distances import FeatureDistances, map_chunks

_PAIRS_PER_STEP = 2**15  # pairs of images whose distances are computed at a time


@dataclass(frozen=True)
class KReciprocal:
    """Parameters of the method; the defaults are the authors'.

    Attributes:
        k1: number of nearest images among which neighbors must be reciprocal.
        k2: number of nearest images whose encodings are averaged; 1 disables averaging.
        weight: weight of the original distance; 1 disables re-ranking.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3


class ReRankedDistances:
    """Rows of the re-ranked distance matrix: ``distances[a:b]`` is (b - a, num_gallery).

    Equal to torchreid's ``re_ranking`` on the three full distance matrices, up to rounding.

    Args:
        qf: query features, (num_query, D).
        gf: gallery features, (num_gallery, D).
        metric: original distance, ``"cosine"`` or ``"euclidean"``. It is squared and divided by
            the largest value of its row.
        device: device that computes distances; default: the device of the features.
        method: parameters of the re-ranking.
        distributed: split the search for neighbors over the ranks of the process group. Every
            rank must construct the object.

    Raises:
        ValueError, InputError: see :class:`FeatureDistances`.
    """

    def __init__(
        self,
        qf: Tensor,
        gf: Tensor,
        metric: str = "cosine",
        device: torch.device | None = None,
        method: KReciprocal = KReciprocal(),  # noqa: B008  it is frozen
        distributed: bool = False,
    ) -> None:
        images = torch.cat([torch.as_tensor(qf).detach(), torch.as_tensor(gf).detach()])  # (N, D)
        self.shape = len(qf), len(gf)
        self.method = method
        self._distances = FeatureDistances(images, images, metric, device)
        nearest, self._row_max = self._search_neighbors(distributed)  # (N, k), (N,)
        encoding = self._encode(_expanded_reciprocal(nearest[:, : method.k1 + 1], method.k1))
        if method.k2 > 1:  # local query expansion
            encoding = _indicator(nearest[:, : method.k2]) @ encoding
            encoding.data /= min(method.k2, nearest.shape[1])
        self._encoding = encoding  # (N, N), sparse
        self._gallery = encoding[self.shape[0] :].tocsc()  # (num_gallery, N)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        num_query = self.shape[0]
        queries = torch.arange(num_query)[rows]  # (n,)
        original = self._distances[queries][:, num_query:].square()
        original /= self._row_max[queries, None]
        result = original.cpu().mul_(self.method.weight)  # (n, num_gallery)
        for query, row in zip(queries.tolist(), result.numpy(), strict=True):
            row += (1 - self.method.weight) * self._jaccard_distance(query)
        return result

    def _search_neighbors(self, distributed: bool) -> tuple[np.ndarray, Tensor]:
        """Nearest images of each image, (N, k), and its largest squared distance, (N,).

        k is the larger one of k1 + 1 and k2. The nearest image is the image itself.
        """
        count = min(max(self.method.k1 + 1, self.method.k2), self._distances.shape[1])

        def search(rows: slice) -> tuple[Tensor, Tensor]:
            distances = self._distances[rows].square_()
            nearest = distances.topk(count, largest=False).indices
            return nearest.int().cpu(), distances.amax(1).cpu()

        chunks = map_chunks(search, self._distances.shape, distributed)
        nearest, row_max = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        row_max = row_max.clamp(min=torch.finfo(row_max.dtype).tiny)  # 0 if all images are equal
        return nearest.numpy(), row_max.to(self._distances.gf.device)

    def _encode(self, neighbors: sparse.csr_array) -> sparse.csr_array:
        """Weight neighbors by exp(-distance) and normalize rows to sum 1; (N, N) float32."""
        row, column = (torch.from_numpy(index) for index in neighbors.nonzero())
        parts = []
        steps = zip(row.split(_PAIRS_PER_STEP), column.split(_PAIRS_PER_STEP), strict=True)
        for indices in steps:
            i, j = (index.long().to(self._distances.gf.device) for index in indices)
            distance = self._distances.pairs(i, j).square_() / self._row_max[i]
            parts.append(distance.neg_().exp_().float().cpu())
        weights = torch.cat(parts).numpy()
        row_sum = np.bincount(row, weights, minlength=neighbors.shape[0])
        weights /= row_sum[row].astype(np.float32)
        return sparse.csr_array((weights, (row, column)), shape=neighbors.shape)

    def _jaccard_distance(self, query: int) -> np.ndarray:
        """1 - sum_j min(q_j, g_j) / sum_j max(q_j, g_j) to each gallery image, (num_gallery,).

        Every encoding sums to 1, so the sum of the maxima is 2 minus the sum of the minima.
        """
        begin, end = self._encoding.indptr[query : query + 2]
        neighbors, weights = self._encoding.indices[begin:end], self._encoding.data[begin:end]
        # All entries of the gallery's CSC matrix in the columns of the query's neighbors.
        starts = self._gallery.indptr[neighbors]
        counts = self._gallery.indptr[neighbors + 1] - starts
        within_column = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        entries = np.repeat(starts, counts) + within_column
        minima = np.minimum(np.repeat(weights, counts), self._gallery.data[entries])
        images = self._gallery.indices[entries]
        sum_of_minima = np.bincount(images, minima, minlength=self.shape[1])  # (num_gallery,)
        return 1 - sum_of_minima / (2 - sum_of_minima)


def _expanded_reciprocal(nearest: np.ndarray, k1: int) -> sparse.csr_array:
    """Indicator (N, N) of the expanded k-reciprocal neighbors R*(i, k1).

    R(i, k) are the k-reciprocal neighbors of i. For each c in R(i, k1), the set R(c, k1 / 2) is
    added if more than two thirds of it are in R(i, k1).

    Args:
        nearest: (N, k1 + 1) indices of the nearest images, the image itself first.
    """
    reciprocal = _reciprocal(nearest)
    half = _reciprocal(nearest[:, : int(np.around(k1 / 2)) + 1])
    overlap = (reciprocal @ half.T).multiply(reciprocal).tocoo()  # |R(i, k1) & R(c, k1 / 2)|
    half_size = half.sum(1)
    joins = 3 * overlap.data > 2 * half_size[overlap.col]
    pairs = overlap.row[joins], overlap.col[joins]  # i and c
    candidates = sparse.csr_array((np.ones(len(pairs[0]), np.float32), pairs), overlap.shape)
    expanded = (reciprocal + candidates @ half).tocsr()
    expanded.data[:] = 1
    return expanded


def _reciprocal(nearest: np.ndarray) -> sparse.csr_array:
    """Indicator (N, N) of the pairs that are among each other's nearest, (N, k) indices."""
    is_near = _indicator(nearest)
    return is_near.multiply(is_near.T).tocsr()


def _indicator(nearest: np.ndarray) -> sparse.csr_array:
    """Sparse (N, N) matrix with ones at the (N, k) column indices ``nearest``."""
    images, k = nearest.shape
    indices, indptr = nearest.ravel(), np.arange(0, images * k + 1, k, dtype=np.int32)
    ones = np.ones(images * k, np.float32)
    return sparse.csr_array((ones, indices, indptr), shape=(images, images))
