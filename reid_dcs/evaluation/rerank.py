"""k-reciprocal re-ranking (Zhong et al., CVPR 2017), sparse and by chunks.

An image is described by its k-reciprocal neighbours: images that have each other among their
nearest k. A query's distance to a gallery image becomes the Jaccard distance between their
descriptions, blended with the distance they had. Descriptions are sparse matrices over all N
images, queries and gallery; of the N x N distances a chunk of rows exists at a time.

Its aid is large and its cost grows with N^2, so results with it are not compared with results
without: the paper reports none, and here it is off unless asked for.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reid_dcs.evaluation.distances import FeatureDistances, by_chunks

_PAIRS = 2**15  # distances between single images at a time


@dataclass(frozen=True)
class KReciprocal:
    """The method's constants, its authors' by default.

    Attributes:
        k1: nearest images among which neighbours are reciprocal.
        k2: nearest images whose descriptions are averaged; 1 averages none.
        weight: of the first distance in the blend; 1 does not re-rank.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3


class ReRankedDistances:
    """Rows of the re-ranked distance matrix: ``distances[a:b]`` is (b - a, num_gallery).

    Equal to torchreid's ``re_ranking`` of all three distance matrices, up to rounding.

    Args:
        qf, gf: features, (num_query, D) and (num_gallery, D).
        metric: of the first distance, which is squared and divided by the largest of its row.
        device: where to compute distances; the features' own by default.
        method: its constants.
        together: every rank of a process group makes one: they share the search for neighbours.

    Raises:
        ValueError, InputError: as :class:`FeatureDistances`.
    """

    def __init__(
        self,
        qf: Tensor,
        gf: Tensor,
        metric: str = "cosine",
        device: torch.device | None = None,
        method: KReciprocal = KReciprocal(),  # noqa: B008  it is frozen
        together: bool = False,
    ) -> None:
        images = torch.cat([torch.as_tensor(qf).detach(), torch.as_tensor(gf).detach()])  # (N, D)
        self.shape = len(qf), len(gf)
        self.method = method
        self._distances = FeatureDistances(images, images, metric, device)
        nearest, self._largest = self._neighbours(together)  # (N, k1 + 1), (N,)
        described = self._weigh(_reciprocal(nearest, method.k1))
        if method.k2 > 1:
            described = _membership(nearest[:, : method.k2]) @ described
            described.data /= min(method.k2, nearest.shape[1])
        self._described = described  # (N, N), sparse
        self._gallery = described[self.shape[0] :].tocsc()  # (num_gallery, N)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        num_query = self.shape[0]
        queries = torch.arange(num_query)[rows]  # (n,)
        first = self._distances[queries][:, num_query:].square()
        first /= self._largest[queries, None]
        blended = first.cpu().mul_(self.method.weight)  # (n, num_gallery)
        for query, row in zip(queries.tolist(), blended.numpy(), strict=True):
            row += (1 - self.method.weight) * self._jaccard(query)
        return blended

    def _neighbours(self, together: bool) -> tuple[np.ndarray, Tensor]:
        """Every image's nearest k1 + 1, itself the first, and its largest distance, squared."""
        number = min(self.method.k1 + 1, self._distances.shape[1])

        def search(rows: slice) -> tuple[Tensor, Tensor]:
            distances = self._distances[rows].square_()
            nearest = distances.topk(number, largest=False).indices
            return nearest.int().cpu(), distances.amax(1).cpu()

        parts = by_chunks(search, self._distances.shape, together)
        nearest, largest = (torch.cat(column) for column in zip(*parts, strict=True))
        return nearest.numpy(), largest.to(self._distances.gf.device)

    def _weigh(self, neighbours: sparse.csr_array) -> sparse.csr_array:
        """exp(-distance) to the neighbours, each row of sum 1; (N, N), float32."""
        query, gallery = (torch.from_numpy(index) for index in neighbours.nonzero())
        weights = []
        for some in zip(query.split(_PAIRS), gallery.split(_PAIRS), strict=True):
            i, j = (index.long().to(self._distances.gf.device) for index in some)
            distance = self._distances.pairs(i, j).square_() / self._largest[i]
            weights.append(distance.neg_().exp_().float().cpu())
        weights = torch.cat(weights).numpy()
        total = np.bincount(query, weights, minlength=neighbours.shape[0])
        weights /= total[query].astype(np.float32)
        return sparse.csr_array((weights, (query, gallery)), shape=neighbours.shape)

    def _jaccard(self, query: int) -> np.ndarray:
        """1 - sum min / sum max of the query's description and each gallery image's.

        Both sum to 1, so that the sum of the maxima is 2 minus that of the minima.
        """
        begin, end = self._described.indptr[query : query + 2]
        columns, own = self._described.indices[begin:end], self._described.data[begin:end]
        starts = self._gallery.indptr[columns]
        numbers = self._gallery.indptr[columns + 1] - starts
        within = np.arange(numbers.sum()) - np.repeat(numbers.cumsum() - numbers, numbers)
        entries = np.repeat(starts, numbers) + within
        least = np.minimum(np.repeat(own, numbers), self._gallery.data[entries])
        images = self._gallery.indices[entries]
        common = np.bincount(images, least, minlength=self.shape[1])  # (num_gallery,)
        return 1 - common / (2 - common)


def _reciprocal(nearest: np.ndarray, k1: int) -> sparse.csr_array:
    """(N, N): 1 where j is among i's k-reciprocal neighbours, or joins them through another.

    The neighbours of a neighbour, by half of k, join if more than two thirds of them are
    neighbours of i already.
    """
    mutual = _mutual(nearest)
    closer = _mutual(nearest[:, : int(np.around(k1 / 2)) + 1])
    shared = (mutual @ closer.T).multiply(mutual).tocoo()  # of i and candidate c
    size = closer.sum(1)
    joins = 3 * shared.data > 2 * size[shared.col]
    pairs = shared.row[joins], shared.col[joins]
    candidates = sparse.csr_array((np.ones(len(pairs[0]), np.float32), pairs), shape=mutual.shape)
    expanded = (mutual + candidates @ closer).tocsr()
    expanded.data[:] = 1
    return expanded


def _mutual(nearest: np.ndarray) -> sparse.csr_array:
    """(N, N): 1 where i and j have each other among their nearest."""
    among = _membership(nearest)
    return among.multiply(among.T).tocsr()


def _membership(nearest: np.ndarray) -> sparse.csr_array:
    """(N, k) indices as (N, N): 1 where j is among i's."""
    images, k = nearest.shape
    index = nearest.ravel(), np.arange(0, images * k + 1, k, dtype=np.int32)
    return sparse.csr_array((np.ones(images * k, np.float32), *index), shape=(images, images))
