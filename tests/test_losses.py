"""Losses against torchreid's and against naive loops in float64."""

import pytest
import torch
from torch import Tensor
from torchreid import losses

from reid_dcs.losses import IdentityTripletLoss, batch_hard_triplet

BATCHES = {
    "4x4": [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4,
    "shuffled": [2, 0, 1, 2, 1, 0, 0, 2, 2, 1],
    "two": [0, 1],
    "lone_images": [0, 1, 1, 2, 3, 3, 3],
}
batches = pytest.mark.parametrize("pids", BATCHES.values(), ids=BATCHES)


def random_batch(pids: list[int], classes: int = 7, dim: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(pids))
    logits = 3 * torch.randn(len(pids), classes, generator=generator)
    features = torch.randn(len(pids), dim, generator=generator) / 4
    return logits, features, torch.tensor(pids)


def naive_triplet(features: Tensor, pids: Tensor, margin: float) -> Tensor:
    """Distance of each pair by definition; an image is its own positive at distance zero."""
    terms = []
    for i, pid in enumerate(pids):
        positives, negatives = [features.new_zeros(())], []
        for j, other in enumerate(pids):
            if i != j:
                group = positives if pid == other else negatives
                group.append((features[i] - features[j]).square().sum().sqrt())
        terms.append((margin + max(positives) - min(negatives)).clamp(min=0))
    return sum(terms) / len(terms)


def naive_identity(logits: Tensor, pids: Tensor, smoothing: float) -> Tensor:
    """Cross entropy with target probability ``smoothing / classes`` added to every class."""
    classes, terms = logits.shape[1], []
    for row, pid in zip(logits, pids, strict=True):
        log_partition = row.exp().sum().log()
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing) * (c == pid)
            terms.append(target * (log_partition - row[c]))
    return sum(terms) / len(logits)


@batches
@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
def test_triplet_loss_matches_torchreid_and_the_definition(pids, margin):
    _, features, pids = random_batch(pids)
    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    naive = features.double().requires_grad_()
    loss = batch_hard_triplet(ours, pids, margin)
    reference = losses.TripletLoss(margin)(theirs, pids)
    definition = naive_triplet(naive, pids, margin)
    for value in (loss, reference, definition):
        value.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.double(), definition, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), naive.grad, rtol=1e-4, atol=1e-5)
    if margin == 2:  # with small margins the gradient of a batch may be zero
        assert naive.grad.abs().max() > 1e-3


@batches
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_identity_loss_matches_torchreid_and_the_definition(pids, smoothing):
    logits, features, pids = random_batch(pids)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    naive = logits.double().requires_grad_()
    criterion = IdentityTripletLoss(label_smoothing=smoothing, triplet_weight=0)
    loss = criterion(ours, features, pids).total
    reference = losses.CrossEntropyLoss(7, eps=smoothing, use_gpu=False)(theirs, pids)
    definition = naive_identity(naive, pids, smoothing)
    for value in (loss, reference, definition):
        value.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loss.double(), definition, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours.grad.double(), naive.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_total_is_the_identity_loss_plus_the_weighted_triplet_loss(weight):
    logits, features, pids = random_batch(BATCHES["4x4"])
    found = IdentityTripletLoss(0.2, margin=0.4, triplet_weight=weight)(logits, features, pids)
    identity = losses.CrossEntropyLoss(7, eps=0.2, use_gpu=False)(logits, pids)
    triplet = losses.TripletLoss(0.4)(features, pids)
    assert triplet > 0.1
    torch.testing.assert_close(found.identity, identity)
    torch.testing.assert_close(found.triplet, triplet, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.total, identity + weight * triplet, rtol=1e-5, atol=1e-5)
    assert found[0] is found.total  # the loss that the engine minimizes


def test_defaults_are_those_of_the_paper():
    logits, features, pids = random_batch(BATCHES["4x4"])
    found = IdentityTripletLoss()(logits, features, pids)
    identity = losses.CrossEntropyLoss(7, eps=0.1, use_gpu=False)(logits, pids)
    triplet = losses.TripletLoss(0.3)(features, pids)
    torch.testing.assert_close(found.total, identity + triplet, rtol=1e-5, atol=1e-5)


def test_the_soft_margin_matches_its_definition():
    _, features, pids = random_batch(BATCHES["4x4"])
    distance = torch.cdist(features.double(), features.double())
    terms = []
    for i, pid in enumerate(pids):
        positive = max(d for d, other in zip(distance[i], pids, strict=True) if other == pid)
        negative = min(d for d, other in zip(distance[i], pids, strict=True) if other != pid)
        terms.append((1 + (positive - negative).exp()).log())
    found = IdentityTripletLoss(margin=None)(torch.zeros(len(pids), 7), features, pids).triplet
    torch.testing.assert_close(found.double(), torch.stack(terms).mean(), rtol=1e-5, atol=1e-5)


def test_a_batch_that_satisfies_the_margin_has_zero_loss():
    """Identities are at least 2.5 apart, images of one 0.5: 1.5 is satisfied, 2.2 is not."""
    corners = 2.5 * torch.eye(4).repeat_interleave(2, 0)[:, :3]  # the fourth at the origin
    features = torch.cat([corners, torch.tensor([0.0, 0.5]).repeat(4)[:, None]], dim=1)
    pids = torch.arange(4).repeat_interleave(2)
    features.requires_grad_()
    loss = batch_hard_triplet(features, pids, margin=1.5)
    loss.backward()
    assert loss.item() == 0
    assert features.grad.count_nonzero() == 0
    assert batch_hard_triplet(features, pids, margin=2.2) > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_compared_in_float32(dtype):
    """Far from the origin, |a|^2 + |b|^2 - 2ab in half precision is dominated by rounding."""
    generator = torch.Generator().manual_seed(0)
    features = (torch.randn(8, 64, generator=generator) + 10).to(dtype)
    pids = torch.arange(4).repeat_interleave(2)
    expected = naive_triplet(features.double(), pids, 0.3)
    torch.testing.assert_close(
        batch_hard_triplet(features, pids, 0.3).double(), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("images", [8, 64])
def test_autocast_does_not_touch_the_distances(images):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, 64, generator=generator) + 1000
    pids = torch.arange(images // 2).repeat_interleave(2)
    expected = naive_triplet(features.double(), pids, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = batch_hard_triplet(features, pids, 0.3)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("margin", [0.3, None])
def test_a_batch_of_one_identity_has_no_triplet_loss(margin):
    features = torch.randn(6, 4, requires_grad=True)
    loss = batch_hard_triplet(features, torch.zeros(6, dtype=torch.int64), margin)
    loss.backward()
    assert loss.item() == 0 and features.grad.abs().max() == 0


def test_without_a_weight_the_triplet_term_is_not_minimized_at_all():
    logits, features, pids = random_batch(BATCHES["4x4"])
    losses = IdentityTripletLoss(triplet_weight=0)(logits, features * torch.inf, pids)
    assert losses.total.isfinite() and losses.total == losses.identity
