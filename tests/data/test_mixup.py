"""Mixup: partners and weights of the blend."""

import numpy as np
import torch
from scipy.stats import kstest

from reid_dcs.data.mixup import mixup

PIDS = torch.arange(16) // 4


def mixed_batch(alpha, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 3, 4, 2)
    return images, mixup(images, PIDS, alpha, random)


def test_each_image_is_blended_with_its_partner():
    images, mixed = mixed_batch(0.5, 0)
    w = mixed.weight
    assert 0 < w < 1
    partners = (mixed.images - w * images) / (1 - w)  # the pixels of image i are all i
    numbers = partners[:, 0, 0, 0].round().long()
    assert sorted(numbers.tolist()) == list(range(16))  # a permutation
    assert torch.equal(mixed.partners, PIDS[numbers])
    torch.testing.assert_close(partners, images[numbers], rtol=0, atol=1e-3)


def test_weights_follow_the_beta_distribution():
    weights = np.array([mixed_batch(0.4, seed)[1].weight for seed in range(400)])
    assert kstest(weights, "beta", (0.4, 0.4)).pvalue > 0.01
    assert len(set(weights)) == 400


def test_a_seed_determines_the_blend():
    assert torch.equal(mixed_batch(1, 3)[1].images, mixed_batch(1, 3)[1].images)
