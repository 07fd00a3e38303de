"""CMC, mAP and mINP against torchreid's evaluation and against loops."""

import numpy as np
import pytest
import torch
from torchreid import metrics

from reid_dcs import InputError
from reid_dcs.evaluation import FeatureDistances, distances, evaluate_features, evaluate_rank


def random_labels(rng: np.random.Generator, queries: int, gallery: int) -> tuple[np.ndarray, ...]:
    """q_pids, g_pids, q_camids, g_camids; identity 9 is in no gallery.

    The first query has a match, the last (of two or more) has none.
    """
    q_pids, g_pids = rng.integers(0, 10, queries), rng.integers(0, 9, gallery)
    q_camids, g_camids = rng.integers(0, 3, queries), rng.integers(0, 3, gallery)
    q_pids[-1] = 9
    q_pids[0], q_camids[0], g_pids[0], g_camids[0] = 0, 0, 0, 1
    return q_pids, g_pids, q_camids, g_camids


def fewest_kept(labels: tuple[np.ndarray, ...]) -> int:
    """Gallery images left to the query with the most junk (torchreid needs max_rank of them)."""
    q_pids, g_pids, q_camids, g_camids = labels
    junk = (q_pids[:, None] == g_pids) & (q_camids[:, None] == g_camids)
    return len(g_pids) - junk.sum(1).max()


def naive_evaluation(distmat: np.ndarray, labels: tuple[np.ndarray, ...], max_rank: int):
    """(cmc, mAP, mINP, valid queries), an image at a time, in the order of numpy's argsort."""
    cmcs, average_precisions, inverse_penalties = [], [], []
    for row, pid, camid in zip(distmat, labels[0], labels[2], strict=True):
        rank, match_ranks = 0, []
        for j in np.argsort(row):
            if labels[1][j] == pid and labels[3][j] == camid:
                continue
            rank += 1
            if labels[1][j] == pid:
                match_ranks.append(rank)
        if not match_ranks:
            continue
        cmcs.append([float(match_ranks[0] <= k) for k in range(1, max_rank + 1)])
        precisions = [found / rank for found, rank in enumerate(match_ranks, 1)]
        average_precisions.append(np.mean(precisions))
        inverse_penalties.append(len(match_ranks) / match_ranks[-1])
    means = np.mean(cmcs, 0), np.mean(average_precisions), np.mean(inverse_penalties)
    return *means, len(cmcs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(60))
def test_bit_equal_to_torchreid_under_ties(seed, dtype):
    """Few distances, so nearly all tie; junk, and queries without a match, in nearly all cases."""
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, rng.integers(1, 40), rng.integers(12, 150))
    distmat = rng.integers(0, rng.integers(2, 6), (len(labels[0]), len(labels[1]))).astype(dtype)
    max_rank = int(rng.integers(1, fewest_kept(labels) + 1))
    cmc, mAP = evaluate_rank(distmat, *labels, max_rank=max_rank)
    expected, expected_mAP = metrics.evaluate_rank(
        distmat, *labels, max_rank=max_rank, use_cython=False
    )
    assert cmc.dtype == expected.dtype
    assert np.array_equal(cmc, expected)
    assert mAP == pytest.approx(expected_mAP, rel=0, abs=1e-12)


def test_bit_equal_to_torchreid_across_chunks(monkeypatch):
    """More queries than are ranked at once, at the default length of the curve."""
    monkeypatch.setattr(distances, "CHUNK", 100_000)
    rng = np.random.default_rng(0)
    labels = random_labels(rng, 600, 120)
    distmat = rng.random((600, 120), dtype=np.float32).round(2)
    cmc, mAP = evaluate_rank(distmat, *labels)
    expected, expected_mAP = metrics.evaluate_rank(distmat, *labels, use_cython=False)
    assert len(cmc) == 50
    assert np.array_equal(cmc, expected)
    assert mAP == pytest.approx(expected_mAP, rel=0, abs=1e-12)


def test_bit_equal_to_torchreid_with_a_gallery_smaller_than_max_rank(capsys):
    rng = np.random.default_rng(1)
    labels = (np.arange(5), rng.integers(0, 4, 20), np.zeros(5), np.ones(20))  # no junk
    distmat = rng.integers(0, 4, (5, 20)).astype(np.float32)
    cmc, mAP = evaluate_rank(distmat, *labels, max_rank=50)
    assert capsys.readouterr().out == ""
    expected, expected_mAP = metrics.evaluate_rank(distmat, *labels, max_rank=50, use_cython=False)
    assert len(cmc) == 20
    assert np.array_equal(cmc, expected)
    assert mAP == pytest.approx(expected_mAP, rel=0, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_queries_that_keep_fewer_images_than_max_rank(seed):
    """Where torchreid raises: nearly the whole gallery is some query's junk."""
    rng = np.random.default_rng(seed)
    gallery = int(rng.integers(6, 12))
    labels = (
        np.array([0, 0, 1, 2]),
        np.array([1, 0, *[0] * (gallery - 2)]),
        np.array([0, 1, 0, 0]),
        np.array([1, 1, *[0] * (gallery - 2)]),
    )
    distmat = rng.random((4, gallery))
    cmc, mAP = evaluate_rank(distmat, *labels, max_rank=50)
    expected, expected_mAP, _, _ = naive_evaluation(distmat, labels, gallery)
    assert fewest_kept(labels) == 2
    np.testing.assert_allclose(cmc, expected, rtol=1e-6)
    assert mAP == pytest.approx(expected_mAP, rel=1e-12)


def assert_torchreids(result, distmat, labels, max_rank):
    """(cmc, mAP) to the bit and to 1e-12."""
    expected, expected_mAP = metrics.evaluate_rank(
        distmat, *labels, max_rank=max_rank, use_cython=False
    )
    assert np.array_equal(result[0], expected)
    assert result[1] == pytest.approx(expected_mAP, rel=0, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("seed", range(5))
def test_other_types_of_distances(seed, dtype):
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, 30, 120)
    distmat = rng.integers(0, 30, (30, 120)).astype(dtype)
    max_rank = fewest_kept(labels)
    assert_torchreids(evaluate_rank(distmat, *labels, max_rank), distmat, labels, max_rank)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_distances_that_are_not_finite(odd):
    rng = np.random.default_rng(3)
    labels = random_labels(rng, 30, 120)
    distmat = rng.random((30, 120), dtype=np.float32)
    distmat[rng.random((30, 120)) < 0.2] = odd
    assert_torchreids(evaluate_rank(distmat, *labels, 20), distmat, labels, 20)


def test_a_matrix_that_cannot_be_written_and_lies_across():
    rng = np.random.default_rng(4)
    labels = random_labels(rng, 30, 120)
    distmat = rng.integers(0, 9, (120, 30)).T[::-1]
    distmat.setflags(write=False)
    assert_torchreids(evaluate_rank(distmat, *labels, 20), distmat, labels, 20)


def test_one_image_in_the_gallery():
    cmc, mAP = evaluate_rank(np.zeros((2, 1)), [4, 5], [4], [0, 0], [1])
    assert cmc.tolist() == [1] and mAP == 1


@pytest.mark.parametrize("size", [1, 600, 10_000], ids=["a_row", "some_rows", "most_rows"])
def test_chunks_change_nothing(monkeypatch, size):
    """And none holds more distances than it should."""
    rng = np.random.default_rng(5)
    labels = random_labels(rng, 40, 100)
    qf, gf = (torch.from_numpy(rng.integers(0, 2, (n, 5)).astype(np.float32)) for n in (40, 100))
    expected = evaluate_features(qf, gf, *labels, "euclidean", 20)
    seen, rows_of = [], FeatureDistances.__getitem__

    def watched(self, rows):
        distances = rows_of(self, rows)
        seen.append(distances.nbytes)
        return distances

    monkeypatch.setattr(distances, "CHUNK", size)
    monkeypatch.setattr(FeatureDistances, "__getitem__", watched)
    result = evaluate_features(qf, gf, *labels, "euclidean", 20)
    assert np.array_equal(result.cmc, expected.cmc) and result[1:] == expected[1:]
    assert sum(seen) == 4 * 40 * 100 and len(seen) > 1
    assert max(seen) <= max(size, 4 * 100)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(10))
def test_features_full_of_ties_give_what_torchreid_gives(seed, dtype, metric):
    """Small whole numbers, so that many images are the same and most are equally far."""
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, 30, 150)
    qf, gf = (torch.from_numpy(rng.integers(-1, 2, (n, 4))).to(dtype) for n in (30, 150))
    distmat = metrics.compute_distance_matrix(qf, gf, metric).numpy()
    assert len(np.unique(distmat)) < distmat.size / 10
    result = evaluate_features(qf, gf, *labels, metric, 20)
    assert_torchreids(result, distmat, labels, 20)


def test_features_of_half_precision_are_compared_in_float32():
    rng = np.random.default_rng(6)
    labels = random_labels(rng, 30, 150)
    qf, gf = (torch.from_numpy(rng.normal(size=(n, 16))).half() for n in (30, 150))
    distmat = metrics.compute_distance_matrix(qf.float(), gf.float(), "cosine").numpy()
    assert_torchreids(evaluate_features(qf, gf, *labels, max_rank=20), distmat, labels, 20)


def test_what_does_not_fit_is_a_value_error():
    labels = (np.zeros(2), np.zeros(3), np.zeros(2), np.ones(3))
    with pytest.raises(ValueError, match=r"distances are \(2, 4\)"):
        evaluate_rank(np.zeros((2, 4)), *labels)
    with pytest.raises(ValueError, match="q_pids.*q_camids"):
        evaluate_rank(np.zeros((2, 3)), *labels[:2], np.zeros(1), np.ones(3))
    with pytest.raises(ValueError, match="4 numbers, gallery 5"):
        evaluate_features(torch.ones(2, 4), torch.ones(3, 5), *labels)
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        evaluate_features(torch.ones(2), torch.ones(3), *labels)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(odd):
    gf = torch.ones(3, 4)
    gf[1, 2] = odd
    with pytest.raises(InputError, match="not finite"):
        evaluate_features(torch.ones(2, 4), gf, [0, 0], [0, 0, 0], [0, 0], [1, 1, 1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("queries", [7, 300])
def test_features_give_what_their_distance_matrix_gives(queries, metric):
    """torchreid's distances and ranks, and the loops' mINP, on features of very unequal norms."""
    rng = np.random.default_rng(2)
    labels = random_labels(rng, queries, 80)
    centres = rng.normal(size=(10, 6))
    qf, gf = (
        torch.from_numpy((centres[pids] + rng.normal(size=(len(pids), 6))) * scale)
        for pids, scale in ((labels[0], 1.0), (labels[1], rng.uniform(0.2, 5, (80, 1))))
    )
    distmat = metrics.compute_distance_matrix(qf, gf, metric).numpy()
    result = evaluate_features(qf, gf, *labels, metric=metric, max_rank=20)
    cmc, mAP = evaluate_rank(distmat, *labels, max_rank=20)
    expected, expected_mAP, mINP, num_valid = naive_evaluation(distmat, labels, 20)
    assert np.array_equal(result.cmc, cmc)
    assert result.mAP == mAP
    np.testing.assert_allclose(result.cmc, expected, rtol=1e-6)
    assert result.mAP == pytest.approx(expected_mAP, rel=1e-12)
    assert result.mINP == pytest.approx(mINP, rel=1e-12)
    assert result.num_valid == num_valid < queries


def test_the_default_metric_is_cosine_and_is_not_euclidean():
    labels = (np.array([0]), np.array([0, 1]), np.array([0]), np.array([1, 1]))
    qf = torch.tensor([[1.0, 0.0]])
    gf = torch.tensor([[9.0, 1.0], [1.0, 1.0]])  # the match is nearer by angle, farther by distance
    assert evaluate_features(qf, gf, *labels).mAP == 1
    assert evaluate_features(qf, gf, *labels, metric="cosine").mAP == 1
    assert evaluate_features(qf, gf, *labels, metric="euclidean").mAP == 0.5


def test_a_case_worked_by_hand():
    """Matches at ranks 2 and 5 once the junk in front of them is gone: AP, CMC and INP."""
    g_pids = np.array([0, 5, 0, 6, 7, 0, 0])
    g_camids = np.array([0, 0, 1, 2, 1, 2, 0])  # the first and the last image are junk
    labels = (np.array([0, 3]), g_pids, np.array([0, 0]), g_camids)  # identity 3 has no match
    gf = torch.stack([torch.tensor([np.cos(a), np.sin(a)]) for a in np.linspace(0.1, 1, 7)])
    result = evaluate_features(torch.tensor([[1.0, 0.0]] * 2, dtype=gf.dtype), gf, *labels)
    assert result.cmc.tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert result.mAP == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert result.mINP == pytest.approx(2 / 5)
    assert result.num_valid == 1


@pytest.mark.parametrize("shared", ["camera", "nothing"])
def test_no_query_with_a_match_is_an_input_error(shared):
    """One camera only, or no identity in common: a line for the user, not an assertion."""
    pids, camids = np.arange(4), np.zeros(4)
    g_pids = pids if shared == "camera" else pids + 4
    labels = (pids, g_pids, camids, camids)
    with pytest.raises(InputError, match="no query") as caught:
        evaluate_rank(np.ones((4, 4)), *labels)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no query"):
        evaluate_features(torch.eye(4), torch.eye(4), *labels)


def test_unknown_metric_is_a_value_error():
    labels = (np.zeros(1), np.zeros(1), np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match="metric.*manhattan"):
        evaluate_features(torch.ones(1, 2), torch.ones(1, 2), *labels, metric="manhattan")
