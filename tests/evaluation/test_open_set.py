"""Open-set identification and verification, against slow and obvious versions."""

import sys

import numpy as np
import pytest
import torch

from reid_dcs import runs
from reid_dcs.errors import InputError
from reid_dcs.evaluation import (
    FeatureDistances,
    Labels,
    check_open_set,
    distances,
    open_set,
    verification,
)


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    centers = random.standard_normal((12, 6))
    q_pids, g_pids = random.integers(0, 12, 60), random.integers(0, 12, 90)
    q_camids, g_camids = random.integers(0, 3, 60), random.integers(0, 3, 90)
    qf, gf = (
        torch.from_numpy(centers[pids] + 0.9 * random.standard_normal((len(pids), 6))).float()
        for pids in (q_pids, g_pids)
    )
    return FeatureDistances(qf, gf), Labels(q_pids, g_pids, q_camids, g_camids)


def nearest(case):
    """Distance of the nearest match and of the nearest negative of each query."""
    rows, labels = case
    for q in range(rows.shape[0]):
        row = rows[q : q + 1][0].double().numpy()
        same = labels.g_pids == labels.q_pids[q]
        match = same & (labels.g_camids != labels.q_camids[q])
        if match.any():
            yield row[match].min(), row[~same].min()


@pytest.mark.parametrize("far", [0.02, 0.1, 0.5, 1.0])
def test_rank_1_at_a_false_accept_rate_is_that_of_the_best_threshold(case, far, monkeypatch):
    queries = list(nearest(case))
    best = 0.0
    for threshold in sorted(negative for _, negative in queries):
        if np.mean([negative <= threshold for _, negative in queries]) <= far:
            best = np.mean([m <= threshold and m < n for m, n in queries])
    # between two negatives matches may still be accepted
    monkeypatch.setattr(distances, "CHUNK_BYTES", 4 * 90 * 7)
    found = open_set(*case, far)
    assert found.far <= far
    allowed = int(far * len(queries) + 1e-9)
    threshold = sorted(n for _, n in queries)[min(allowed, len(queries) - 1)]
    assert found.threshold == pytest.approx(threshold, abs=1e-6)
    # rows of distances at once round otherwise
    threshold += 1e-6 if allowed == len(queries) else -1e-6
    assert found.far == np.mean([negative <= threshold for _, negative in queries])
    assert found.rank1 == np.mean([m <= threshold and m < n for m, n in queries]) >= best


def test_negatives_at_one_distance_are_accepted_together_or_not_at_all():
    labels = Labels(np.arange(10), np.arange(10), np.zeros(10), np.ones(10))
    matrix = np.where(np.eye(10, dtype=bool), 0.1, 0.5)
    rank1, far, threshold = open_set(distances.MatrixDistances(matrix), labels, far=0.1)
    assert (rank1, far) == (1.0, 0.0) and 0.1 < threshold < 0.5


def test_too_few_queries_for_a_rate_are_refused(case):
    with pytest.raises(InputError, match="eval.open_set=0.001.*at least 1,000 queries"):
        open_set(*case, 0.001)


@pytest.mark.parametrize("far, queries", [(0.02, 50), (0.0277, 36)])
def test_an_impossible_rate_is_refused_before_any_work(
    tiny_root, tmp_path, monkeypatch, far, queries
):
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path / "cache"))
    module = sys.modules[runs.evaluate.__module__]
    monkeypatch.setattr(module, "load_trained", lambda *_: pytest.fail("too late"))
    settings = {
        "eval": {"weights": "mobilenetv2_dcs_synthetic", "open_set": far},
        "data": {"root": str(tiny_root)},
        "output_dir": str(tmp_path / "out"),
        "device": "cpu",
    }
    with pytest.raises(InputError, match=f"at least {queries} queries .* there are 36: choose"):
        runs.evaluate(settings)
    assert not (tmp_path / "out").exists()


def test_the_early_check_counts_the_queries_that_are_valid_later(case, monkeypatch):
    _, labels = case
    g_pids = np.where(labels.g_pids < 6, labels.g_pids, 99)  # half of the queries have no match
    case = case[0], Labels(labels.q_pids, g_pids, labels.q_camids, labels.g_camids)
    valid = len(list(nearest(case)))
    assert 0 < valid < len(labels.q_pids)
    monkeypatch.setattr(distances, "CHUNK_BYTES", 4 * 90 * 7)
    for few in (lambda far: check_open_set(case[1], far), lambda far: open_set(*case, far)):
        few(1 / valid)
        with pytest.raises(InputError, match=f"a match, and there are {valid}: choose a larger"):
            few(0.99 / valid)


def test_rates_are_those_of_all_pairs(case):
    rows, labels = case
    matrix = rows[:].numpy().copy()
    same = labels.q_pids[:, None] == labels.g_pids
    junk = same & (labels.q_camids[:, None] == labels.g_camids)
    result = verification(rows, labels)
    assert result.same.sum() == (same & ~junk).sum() and result.different.sum() == (~same).sum()
    for far in (0.01, 0.2, 1.0):
        threshold, at_far, at_tar = result.threshold(far)
        assert at_far <= far
        assert at_far == pytest.approx((matrix[~same] <= threshold).mean(), abs=1e-9)
        assert at_tar == pytest.approx((matrix[same & ~junk] <= threshold).mean(), abs=1e-9)
        wider = threshold + 2e-5  # no larger threshold has the rate, within the width of a bin
        larger = (matrix[~same] <= wider).mean()
        assert far == 1.0 or larger > far or larger == at_far
    with pytest.raises(InputError, match="needs at least 1,000,000 pairs"):
        result.threshold(1e-6)


def test_data_without_pairs_is_refused():
    rows = FeatureDistances(torch.eye(2), torch.eye(2))
    with pytest.raises(InputError, match="no pair of one person"):
        verification(rows, Labels([0, 1], [2, 3], [0, 0], [1, 1]))
