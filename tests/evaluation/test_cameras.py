"""Pairs of cameras against separate evaluations of their queries and gallery images."""

import numpy as np
import pytest
import torch

from reid_dcs import InputError
from reid_dcs.evaluation import FeatureDistances, Labels, camera_pairs, evaluate_rank


@pytest.mark.parametrize("levels", [3, None])  # ties everywhere, or none
def test_each_pair_equals_a_separate_evaluation(levels):
    random = np.random.default_rng(5)
    q_pids, g_pids = random.integers(6, size=30), random.integers(8, size=90)
    q_camids, g_camids = random.integers(3, size=30), random.integers(4, size=90)
    vectors = [random.normal(size=(n, 5)) for n in (30, 90)]
    if levels:
        vectors = [np.round(v * levels / 3) for v in vectors]
    distances = FeatureDistances(*map(torch.from_numpy, vectors), "euclidean")
    distmat = distances[:].numpy().copy()

    expected = {}
    for a in range(3):
        for b in range(4):
            q, g = np.flatnonzero(q_camids == a), np.flatnonzero(g_camids == b)
            labels = q_pids[q], g_pids[g], q_camids[q], g_camids[g]
            try:
                cmc, mAP = evaluate_rank(distmat[np.ix_(q, g)], *labels)
            except InputError:  # the same camera, or no common identity
                continue
            expected[a, b] = np.isin(labels[0], labels[1]).sum(), mAP, cmc[0]
    labels = Labels(q_pids, g_pids, q_camids, g_camids)
    pairs = camera_pairs(distances, labels)
    assert [pair[:2] for pair in pairs] == list(expected) and len(pairs) == 9
    for pair in pairs:
        assert pair[2:] == pytest.approx(expected[pair[:2]], abs=1e-6)
