"""CUHK03's classic protocol against the mean over all possible galleries."""

import itertools

import numpy as np
import pytest

from reid_dcs.evaluation import Labels, SingleShot, distances, rank_gallery
from reid_dcs.evaluation.distances import MatrixDistances


def exact_cmc(row, labels, query, length):
    """CMC curve (length,) of one query, averaged over all galleries with one image per identity."""
    same_pid = labels.g_pids == labels.q_pids[query]
    junk = same_pid & (labels.g_camids == labels.q_camids[query])
    by_pid = [np.flatnonzero(~junk & (labels.g_pids == pid)) for pid in np.unique(labels.g_pids)]
    hits = []
    for gallery in itertools.product(*(images for images in by_pid if len(images))):
        order = sorted(gallery, key=lambda image: row[image])
        rank = [labels.g_pids[image] for image in order].index(labels.q_pids[query])
        hits.append(np.arange(length) >= rank)
    return np.mean(hits, 0)


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    labels = Labels(np.arange(5) % 4, np.arange(12) % 4, np.zeros(5), np.arange(12) // 4 % 2)
    return MatrixDistances(rng.random((5, 12))), labels


def test_many_draws_approach_the_mean_over_all(case):
    distances, labels = case
    ranking = rank_gallery(distances, labels, single_shot=SingleShot(draws=4000))
    rows = zip(distances.distmat, range(5), strict=True)
    expected = np.mean([exact_cmc(row, labels, query, 4) for row, query in rows], 0)
    result = ranking.summary()
    assert len(result.cmc) == 4 and 0 < expected[0] < 1
    np.testing.assert_allclose(result.cmc, expected, atol=0.02)


def test_average_precision_uses_the_whole_gallery(case):
    ranking, single = rank_gallery(*case), rank_gallery(*case, single_shot=SingleShot())
    np.testing.assert_array_equal(single.average_precision, ranking.average_precision)
    assert single.summary().mINP == ranking.summary().mINP


def test_one_image_per_identity_gives_the_plain_cmc():
    rng = np.random.default_rng(1)
    labels = Labels([0, 1, 2, 9], np.arange(8), np.zeros(4), np.ones(8))
    distances = MatrixDistances(rng.random((4, 8)))
    plain = rank_gallery(distances, labels).summary()
    drawn = rank_gallery(distances, labels, single_shot=SingleShot()).summary()
    np.testing.assert_allclose(drawn.cmc, plain.cmc)
    assert drawn.num_valid == plain.num_valid == 3


def test_draws_depend_on_the_seed_and_not_on_chunks(case, monkeypatch):
    first = rank_gallery(*case, single_shot=SingleShot(seed=3)).first_match
    other = rank_gallery(*case, single_shot=SingleShot(seed=4)).first_match
    monkeypatch.setattr(distances, "CHUNK_BYTES", 1)
    again = rank_gallery(*case, single_shot=SingleShot(seed=3)).first_match
    assert first.shape == (5, 10)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
