"""Average precision of single queries by both rules, against naive loops."""

import numpy as np
import pytest

from reid_dcs.evaluation import Labels, rank_gallery
from reid_dcs.evaluation.distances import MatrixDistances
from reid_dcs.evaluation.metrics import average_precision


def market1501_average_precision(good: set[int], junk: set[int], order: list[int]) -> float:
    """Average precision by Market-1501's compute_AP.m, translated line by line."""
    old_recall, old_precision, ap, found, j = 0.0, 1.0, 0.0, 0, 0
    for image in order:
        if image in junk:
            continue
        found += image in good
        recall, precision = found / len(good), found / (j + 1)
        ap += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        j += 1
        if found == len(good):
            return ap
    raise AssertionError("a match is not in the list")


@pytest.mark.parametrize("seed", range(20))
def test_the_trapezoid_rule_is_that_of_market1501(seed):
    rng = np.random.default_rng(seed)
    labels = Labels(
        rng.integers(0, 5, 20), rng.integers(0, 4, 60), rng.integers(0, 3, 20), np.arange(60) % 3
    )
    distmat = rng.random((20, 60))
    ranking = rank_gallery(MatrixDistances(distmat), labels, rule="trapezoid")
    for query, row in enumerate(distmat):
        same_pid = labels.g_pids == labels.q_pids[query]
        same_camera = labels.g_camids == labels.q_camids[query]
        good, junk = (set(np.flatnonzero(same_pid & m)) for m in (~same_camera, same_camera))
        found = ranking.average_precision[query]
        if good:
            expected = market1501_average_precision(good, junk, list(np.argsort(row)))
            assert found == pytest.approx(expected, rel=1e-12)
        else:
            assert np.isnan(found)


def test_both_rules_worked_by_hand():
    positions = np.array([[1, 3, 0], [2, 0, 0], [0, 0, 0]])
    rectangle = average_precision(positions)
    trapezoid = average_precision(positions, "trapezoid")
    assert rectangle[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 2])
    assert trapezoid[:2] == pytest.approx([(1 + (1 / 2 + 2 / 3) / 2) / 2, (0 + 1 / 2) / 2])
    assert np.isnan(rectangle[2]) and np.isnan(trapezoid[2])
    with pytest.raises(ValueError, match="rectangle.*simpson"):
        average_precision(positions, "simpson")


def test_results_of_each_query():
    labels = Labels([7, 8, 9], [7, 8, 8, 7], [0, 0, 0], [1, 0, 1, 1])
    distmat = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])
    ranking = rank_gallery(MatrixDistances(distmat), labels)
    assert ranking.first_match.tolist() == [[1], [2], [0]]  # the second query's junk is excluded
    np.testing.assert_array_equal(ranking.average_precision, [0.75, 0.5, np.nan])
    np.testing.assert_array_equal(ranking.inverse_penalty, [0.5, 0.5, np.nan])
    cmc, mAP, mINP, num_valid = ranking.summary(max_rank=3)
    assert (cmc.tolist(), mAP, mINP, num_valid) == ([0.5, 1, 1], 0.625, 0.5, 2)
