"""CMC, mAP and mINP against torchreid's evaluation and naive loops."""

import numpy as np
import pytest
import torch
from torchreid import metrics

from reid_dcs import InputError
from reid_dcs.evaluation import FeatureDistances, distances, evaluate_features, evaluate_rank


def random_labels(rng: np.random.Generator, queries: int, gallery: int) -> tuple[np.ndarray, ...]:
    """Random q_pids, g_pids, q_camids and g_camids; identity 9 is not in the gallery.

    The first query has a match; the last one (of two or more) has none.
    """
    q_pids, g_pids = rng.integers(0, 10, queries), rng.integers(0, 9, gallery)
    q_camids, g_camids = rng.integers(0, 3, queries), rng.integers(0, 3, gallery)
    q_pids[-1] = 9
    q_pids[0], q_camids[0], g_pids[0], g_camids[0] = 0, 0, 0, 1
    return q_pids, g_pids, q_camids, g_camids


def shortest_list(labels: tuple[np.ndarray, ...]) -> int:
    """Length of the shortest ranked list, junk excluded; torchreid needs at least max_rank."""
    q_pids, g_pids, q_camids, g_camids = labels
    junk = (q_pids[:, None] == g_pids) & (q_camids[:, None] == g_camids)
    return len(g_pids) - junk.sum(1).max()


def naive_evaluation(distmat: np.ndarray, labels: tuple[np.ndarray, ...], max_rank: int):
    """cmc, mAP, mINP and number of valid queries, image by image in the order of np.argsort."""
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
    """Distances take few values, so most tie; nearly all cases have junk and unmatched queries."""
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, rng.integers(1, 40), rng.integers(12, 150))
    distmat = rng.integers(0, rng.integers(2, 6), (len(labels[0]), len(labels[1]))).astype(dtype)
    max_rank = int(rng.integers(1, shortest_list(labels) + 1))
    cmc, mAP = evaluate_rank(distmat, *labels, max_rank=max_rank)
    expected, expected_mAP = metrics.evaluate_rank(
        distmat, *labels, max_rank=max_rank, use_cython=False
    )
    assert cmc.dtype == expected.dtype
    assert np.array_equal(cmc, expected)
    assert mAP == pytest.approx(expected_mAP, rel=0, abs=1e-12)


def test_bit_equal_to_torchreid_across_chunks(monkeypatch):
    """More queries than fit into a chunk, with the default max_rank."""
    monkeypatch.setattr(distances, "CHUNK_BYTES", 100_000)
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
def test_ranked_lists_shorter_than_max_rank(seed):
    """torchreid raises here: nearly the whole gallery is one query's junk."""
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
    assert shortest_list(labels) == 2
    np.testing.assert_allclose(cmc, expected, rtol=1e-6)
    assert mAP == pytest.approx(expected_mAP, rel=1e-12)


def assert_equal_to_torchreid(result, distmat, labels, max_rank):
    """Compare CMC bit for bit and mAP to 1e-12."""
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
    max_rank = shortest_list(labels)
    assert_equal_to_torchreid(evaluate_rank(distmat, *labels, max_rank), distmat, labels, max_rank)


def test_distances_that_are_no_numbers_are_refused():
    distmat = np.zeros((3, 4), dtype=np.float32)
    distmat[1, 2] = np.nan
    with pytest.raises(InputError, match=r"distances are not numbers \(NaN\)"):
        evaluate_rank(distmat, [0, 1, 2], [0, 1, 2, 3], [0, 0, 0], [1, 1, 1, 1])
    with pytest.raises(InputError, match="not numbers"):  # infinity minus infinity
        huge = torch.full((2, 4), 1e30)
        evaluate_features(huge, huge, [0, 1], [0, 1], [0, 0], [1, 1], metric="euclidean")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_distances_that_are_infinite(value):
    rng = np.random.default_rng(3)
    labels = random_labels(rng, 30, 120)
    distmat = rng.random((30, 120), dtype=np.float32)
    distmat[rng.random((30, 120)) < 0.2] = value
    assert_equal_to_torchreid(evaluate_rank(distmat, *labels, 20), distmat, labels, 20)


def test_a_read_only_matrix_with_negative_strides():
    rng = np.random.default_rng(4)
    labels = random_labels(rng, 30, 120)
    distmat = rng.integers(0, 9, (120, 30)).T[::-1]
    distmat.setflags(write=False)
    assert_equal_to_torchreid(evaluate_rank(distmat, *labels, 20), distmat, labels, 20)


def test_one_image_in_the_gallery():
    cmc, mAP = evaluate_rank(np.zeros((2, 1)), [4, 5], [4], [0, 0], [1])
    assert cmc.tolist() == [1] and mAP == 1


@pytest.mark.parametrize("size", [1, 600, 10_000], ids=["one_row", "some_rows", "most_rows"])
def test_the_chunk_size_does_not_change_results(monkeypatch, size):
    """Every distance is computed once, and no chunk exceeds the limit."""
    rng = np.random.default_rng(5)
    labels = random_labels(rng, 40, 100)
    qf, gf = (torch.from_numpy(rng.integers(0, 2, (n, 5)).astype(np.float32)) for n in (40, 100))
    expected = evaluate_features(qf, gf, *labels, "euclidean", 20)
    chunk_bytes, compute_rows = [], FeatureDistances.__getitem__

    def recorded(self, rows):
        distances = compute_rows(self, rows)
        chunk_bytes.append(distances.nbytes)
        return distances

    monkeypatch.setattr(distances, "CHUNK_BYTES", size)
    monkeypatch.setattr(FeatureDistances, "__getitem__", recorded)
    result = evaluate_features(qf, gf, *labels, "euclidean", 20)
    assert np.array_equal(result.cmc, expected.cmc) and result[1:] == expected[1:]
    assert sum(chunk_bytes) == 4 * 40 * 100 and len(chunk_bytes) > 1
    assert max(chunk_bytes) <= max(size, 4 * 100)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(10))
def test_features_with_many_ties_match_torchreid(seed, dtype, metric):
    """Small integers: many images are identical and most distances tie."""
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, 30, 150)
    qf, gf = (torch.from_numpy(rng.integers(-1, 2, (n, 4))).to(dtype) for n in (30, 150))
    distmat = metrics.compute_distance_matrix(qf, gf, metric).numpy()
    assert len(np.unique(distmat)) < distmat.size / 10
    result = evaluate_features(qf, gf, *labels, metric, 20)
    assert_equal_to_torchreid(result, distmat, labels, 20)


def test_features_of_half_precision_are_compared_in_float32():
    rng = np.random.default_rng(6)
    labels = random_labels(rng, 30, 150)
    qf, gf = (torch.from_numpy(rng.normal(size=(n, 16))).half() for n in (30, 150))
    distmat = metrics.compute_distance_matrix(qf.float(), gf.float(), "cosine").numpy()
    assert_equal_to_torchreid(evaluate_features(qf, gf, *labels, max_rank=20), distmat, labels, 20)


def test_mismatched_shapes_are_a_value_error():
    labels = (np.zeros(2), np.zeros(3), np.zeros(2), np.ones(3))
    with pytest.raises(ValueError, match=r"distances are \(2, 4\)"):
        evaluate_rank(np.zeros((2, 4)), *labels)
    with pytest.raises(ValueError, match="q_pids.*q_camids"):
        evaluate_rank(np.zeros((2, 3)), *labels[:2], np.zeros(1), np.ones(3))
    with pytest.raises(ValueError, match="4 dimensions, gallery features 5"):
        evaluate_features(torch.ones(2, 4), torch.ones(3, 5), *labels)
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        evaluate_features(torch.ones(2), torch.ones(3), *labels)


@pytest.mark.parametrize("queries, gallery", [(0, 3), (2, 0), (0, 0)])
def test_an_empty_query_or_gallery_is_a_value_error(queries, gallery):
    labels = (np.zeros(queries), np.zeros(gallery), np.zeros(queries), np.ones(gallery))
    with pytest.raises(ValueError, match=f"{queries} query and {gallery} gallery images: none"):
        evaluate_rank(np.zeros((queries, gallery)), *labels)
    with pytest.raises(ValueError, match=r"features must be \(N, D\)"):
        evaluate_features(torch.ones(queries, 4), torch.ones(gallery, 4), *labels)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(value):
    gf = torch.ones(3, 4)
    gf[1, 2] = value
    with pytest.raises(InputError, match="not finite"):
        evaluate_features(torch.ones(2, 4), gf, [0, 0], [0, 0, 0], [0, 0], [1, 1, 1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("queries", [7, 300])
def test_features_match_their_distance_matrix(queries, metric):
    """torchreid's distances and ranks and the naive mINP, for features of very different norms."""
    rng = np.random.default_rng(2)
    labels = random_labels(rng, queries, 80)
    centers = rng.normal(size=(10, 6))
    qf, gf = (
        torch.from_numpy((centers[pids] + rng.normal(size=(len(pids), 6))) * scale)
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
    gf = torch.tensor([[9.0, 1.0], [1.0, 1.0]])  # the match is closer in angle, farther in distance
    assert evaluate_features(qf, gf, *labels).mAP == 1
    assert evaluate_features(qf, gf, *labels, metric="cosine").mAP == 1
    assert evaluate_features(qf, gf, *labels, metric="euclidean").mAP == 0.5


def test_a_case_worked_by_hand():
    """Matches at ranks 2 and 5 after junk is excluded: AP, CMC and INP."""
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
    """A single camera, or no common identity: one line for the user, not an assertion."""
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
