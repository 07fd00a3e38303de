"""P x K batches: length, coverage, distinct identities, seeds, ranks."""

import pytest
import torch

from reid_dcs import InputError
from reid_dcs.data.sampler import IdentitySampler


def identities(*counts: int) -> torch.Tensor:
    """Labels of counts[i] images for each identity i."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


UNEVEN = identities(*(1 + i * 7 % 23 for i in range(40)))


@pytest.mark.parametrize("batch_size, k", [(16, 4), (32, 4), (12, 2), (8, 1), (20, 5)])
def test_every_batch_has_p_identities_with_k_images_each(batch_size, k):
    sampler = IdentitySampler(UNEVEN, batch_size, k)
    batches = list(sampler)
    assert len(batches) == len(sampler) > 0
    for batch in batches:
        pids, counts = UNEVEN[batch].unique(return_counts=True)
        assert len(pids) == batch_size // k and set(counts.tolist()) == {k}


def test_an_epoch_shows_every_image_except_for_a_last_partial_batch():
    sampler = IdentitySampler(UNEVEN, 16, 4)
    shown = torch.cat(list(sampler))
    groups = sum(-(-n // 4) for n in UNEVEN.bincount().tolist())
    assert len(shown) == groups // 4 * 16
    unseen = set(range(len(UNEVEN))) - set(shown.tolist())
    assert len(unseen) <= 3 * 4  # fewer groups than a batch are left over


def test_images_repeat_only_to_complete_groups():
    shown = torch.cat(list(IdentitySampler(UNEVEN, 16, 4)))
    times = shown.bincount(minlength=len(UNEVEN))
    for pid, num_images in enumerate(UNEVEN.bincount().tolist()):
        groups = -(-num_images // 4)
        assert times[UNEVEN == pid].sum() <= groups * 4
        assert times[UNEVEN == pid].max() <= -(-groups * 4 // num_images)


def test_identities_with_one_image_repeat_it():
    batch = next(iter(IdentitySampler(identities(1, 1, 1, 1), 16, 4)))
    assert sorted(batch.tolist()) == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_one_identity_with_most_images_does_not_shorten_the_epoch():
    pids = identities(400, 4, 4, 4)
    sampler = IdentitySampler(pids, 16, 4)
    assert len(list(sampler)) == len(sampler) == 103 // 4


@pytest.mark.parametrize(
    "pids, batch_size, alone",
    [
        (identities(300, *[4] * 39), 32, 0),  # 75 groups of one person, 39 of others
        (identities(400, *[4] * 24), 20, 0),
        (identities(300, *[1] * 14), 32, 0),  # one other group for each of 11 batches
        (identities(400, 4, 4, 4), 16, 22),  # three other groups for 25 batches
        (identities(200, 200), 8, 0),
        (identities(200, 190), 8, 1),  # 48 other groups for 49 batches
        (identities(40, 40), 4, 20),  # P = 1
    ],
)
@pytest.mark.parametrize("epoch", range(3))
def test_a_batch_has_two_identities_wherever_there_are_enough(
    pids, batch_size, alone, epoch, capsys
):
    sampler = IdentitySampler(pids, batch_size, 4, seed=3)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    found = sum(len(pids[batch].unique()) == 1 for batch in batches)
    assert found == alone and len(batches) == len(sampler)
    assert {len(batch) for batch in batches} == {batch_size}
    said = capsys.readouterr().err
    warning = f"warning: {alone} of {len(batches)} batches of an epoch have images of one identity"
    assert said.startswith(warning) if alone else said == ""
    list(sampler)
    assert capsys.readouterr().err == ""  # said once


def test_exchanged_groups_are_those_of_the_epoch():
    pids = identities(300, *[4] * 39)
    shown = torch.cat(list(IdentitySampler(pids, 32, 4))).bincount(minlength=len(pids))
    assert shown.max() == 1 and shown.sum() == 14 * 32  # every image at most once


def test_seed_and_epoch_determine_the_order():
    def order(seed, epoch):
        sampler = IdentitySampler(UNEVEN, 16, 4, seed)
        sampler.set_epoch(epoch)
        return torch.cat(list(sampler)).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4) != order(1, 4)


@pytest.mark.parametrize(
    "pids, batch_size, k, message",
    [
        (UNEVEN, 15, 4, "not a positive multiple"),
        (UNEVEN, 16, 0, "not a positive multiple"),
        (UNEVEN, 1, 1, "data.batch_size=1: .* need several images"),
        (identities(50, 50), 16, 4, "2 identities with 100 images cannot fill one batch"),
    ],
)
def test_unusable_settings_are_refused(pids, batch_size, k, message):
    with pytest.raises(InputError, match=message):
        IdentitySampler(pids, batch_size, k)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_no_image_and_take_equally_many_steps(world_size):
    pids = identities(*(4 * (1 + i % 3) for i in range(30)))  # complete groups: no repeats
    whole = list(IdentitySampler(pids, 16, 4))
    ranks = [
        list(IdentitySampler(pids, 16, 4, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert {len(batches) for batches in ranks} == {len(whole) // world_size}
    shown = torch.cat([batch for batches in ranks for batch in batches]).tolist()
    assert len(set(shown)) == len(shown)
    for step, batches in enumerate(zip(*ranks, strict=True)):
        expected = whole[step * world_size : (step + 1) * world_size]  # of a single process
        assert torch.equal(torch.cat(batches), torch.cat(expected))


def test_too_few_batches_for_the_ranks_are_refused():
    with pytest.raises(InputError, match="on each of 3 processes"):
        IdentitySampler(identities(*[4] * 8), 16, 4, world_size=3)
