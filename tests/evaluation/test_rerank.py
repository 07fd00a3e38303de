"""Re-ranking against torchreid's, which uses full dense matrices."""

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


def random_features(seed: int, queries: int, gallery: int) -> tuple[torch.Tensor, ...]:
    """Query and gallery features around 12 centers, and their identities."""
    random = torch.Generator().manual_seed(seed)
    centers = torch.randn(12, 16, generator=random)
    q_pids, g_pids = (torch.randint(12, (n,), generator=random) for n in (queries, gallery))
    qf, gf = (
        centers[pids] + 0.8 * torch.randn(len(pids), 16, generator=random)
        for pids in (q_pids, g_pids)
    )
    return qf, gf, q_pids, g_pids


def torchreid_rerank(qf, gf, metric, method):
    def distmat(a, b):
        return metrics.compute_distance_matrix(a, b, metric).numpy()

    matrices = distmat(qf, gf), distmat(qf, qf), distmat(gf, gf)
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
        (30, 200, KReciprocal(k1=4, k2=6)),  # k2 > k1 + 1
        (12, 40, KReciprocal(k1=10, k2=20)),
    ],
)
@pytest.mark.parametrize("size", [distances.CHUNK_BYTES, 3_000], ids=["whole", "chunks"])
def test_equal_to_torchreid(monkeypatch, queries, gallery, method, metric, size):
    monkeypatch.setattr(distances, "CHUNK_BYTES", size)
    qf, gf, *_ = random_features(0, queries, gallery)
    expected = torchreid_rerank(qf, gf, metric, method)
    reranked = ReRankedDistances(qf, gf, metric, method=method)
    assert reranked.shape == expected.shape and expected.std() > 0.01
    np.testing.assert_allclose(reranked[:].numpy(), expected, atol=1e-5)
    some = torch.tensor([queries - 1, 0])
    np.testing.assert_allclose(reranked[some].numpy(), expected[some.numpy()], atol=1e-5)


def test_re_ranking_improves_map():
    qf, gf, q_pids, g_pids = random_features(1, 40, 300)
    labels = q_pids.numpy(), g_pids.numpy(), np.zeros(40), np.ones(300)
    reranked = ReRankedDistances(qf, gf)
    found = rank_gallery(reranked, Labels(*labels)).summary()
    plain = metrics.compute_distance_matrix(qf, gf, "cosine").numpy()
    _, expected = evaluate_rank(torchreid_rerank(qf, gf, "cosine", KReciprocal()), *labels)
    assert found.mAP == pytest.approx(expected, abs=1e-3)
    assert found.mAP > evaluate_rank(plain, *labels)[1] + 0.02


def test_equal_features_have_finite_distances():
    features = torch.ones(40, 3)
    distances = ReRankedDistances(features[:5], features[5:], "euclidean")[:]
    assert distances.shape == (5, 35) and distances.isfinite().all()
