"""Re-ranking against torchreid's, which holds every matrix whole."""

import numpy as np
import pytest
import torch
from torchreid import metrics, utils

from reid_dcs.evaluation import (
    KReciprocal,
    Labels,
    ReRankedDistances,
    distances,
    evaluate_rank,
    rank_gallery,
)


def people(seed: int, queries: int, gallery: int) -> tuple[torch.Tensor, ...]:
    """Features of both sides, around a dozen centres, and their identities."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, 16, generator=random)
    pids = [torch.randint(12, (n,), generator=random) for n in (queries, gallery)]
    noise = [0.8 * torch.randn(len(own), 16, generator=random) for own in pids]
    return *(centres[own] + more for own, more in zip(pids, noise, strict=True)), *pids


def torchreids(qf, gf, metric, method):
    def between(a, b):
        return metrics.compute_distance_matrix(a, b, metric).numpy()

    matrices = between(qf, gf), between(qf, qf), between(gf, gf)
    return utils.re_ranking(*matrices, method.k1, method.k2, method.weight)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    "queries, gallery, method",
    [
        (20, 90, KReciprocal()),
        (5, 12, KReciprocal()),  # fewer images than k1
        (30, 200, KReciprocal(k1=7, k2=1)),
        (30, 200, KReciprocal(k1=5, k2=3, weight=0)),
        (1, 60, KReciprocal(weight=0.9)),
    ],
)
@pytest.mark.parametrize("size", [distances.CHUNK, 3_000], ids=["whole", "chunks"])
def test_equal_to_torchreids(monkeypatch, queries, gallery, method, metric, size):
    monkeypatch.setattr(distances, "CHUNK", size)
    qf, gf, *_ = people(0, queries, gallery)
    expected = torchreids(qf, gf, metric, method)
    reranked = ReRankedDistances(qf, gf, metric, method=method)
    assert reranked.shape == expected.shape and expected.std() > 0.01
    np.testing.assert_allclose(reranked[:].numpy(), expected, atol=1e-5)
    some = torch.tensor([queries - 1, 0])
    np.testing.assert_allclose(reranked[some].numpy(), expected[some.numpy()], atol=1e-5)


def test_the_gallery_is_ranked_by_it_and_better():
    qf, gf, q_pids, g_pids = people(1, 40, 300)
    labels = q_pids.numpy(), g_pids.numpy(), np.zeros(40), np.ones(300)
    reranked = ReRankedDistances(qf, gf)
    found = rank_gallery(reranked, Labels(*labels)).summary()
    plain = metrics.compute_distance_matrix(qf, gf, "cosine").numpy()
    _, expected = evaluate_rank(torchreids(qf, gf, "cosine", KReciprocal()), *labels)
    assert found.mAP == pytest.approx(expected, abs=1e-3)
    assert found.mAP > evaluate_rank(plain, *labels)[1] + 0.02
