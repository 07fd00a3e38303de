"""P x K batches: P identities with K images each, for batch-hard mining (Hermans et al., 2017)."""

import sys
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from reid_dcs.errors import InputError

Group = tuple[int, Tensor]
"""An identity's index and (K,) image indices of it."""


def check_batch_size(batch_size: int, num_instances: int) -> None:
    """Check that a batch has several images, as many of each identity.

    Raises:
        InputError: it has not.
    """
    if num_instances < 1 or batch_size < 1 or batch_size % num_instances:
        raise InputError(
            f"data.batch_size={batch_size} is not a positive multiple of "
            f"data.num_instances={num_instances}: change one of them"
        )
    if batch_size == 1:
        raise InputError(
            "data.batch_size=1: batch normalization and the triplet loss need several images: "
            "raise it"
        )


class IdentitySampler(Sampler[Tensor]):
    """Batches of image indices: K images of each of P = batch_size / K identities.

    Each epoch shuffles the images of every identity and splits them into groups of K; the last
    group of an identity is completed with images drawn again. The groups of an identity are
    spread evenly over the epoch. A batch is the next P groups of different identities; identities
    repeat only when too few are left. So an epoch shows every image once, apart from the
    completed groups and the groups left over at the end, too few for another batch.

    A batch of one identity has no negatives to mine. Where an identity has most of the images,
    such batches exchange a group with batches of several; those that remain are counted in a
    warning.

    The order depends on the seed and the epoch. Rank r of a process group gets every
    world_size-th batch; all ranks get the same number of batches.

    Args:
        pids: (N,) identity of each image.
        batch_size: P * K, per rank.
        num_instances: K.
        seed: random seed.
        rank: rank of this process.
        world_size: number of processes.

    Raises:
        InputError: the settings do not fit each other, or the images do not fill one batch.
    """

    def __init__(
        self,
        pids: Tensor,
        batch_size: int,
        num_instances: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_batch_size(batch_size, num_instances)
        self.num_identities, self.num_instances = batch_size // num_instances, num_instances
        self.images_by_pid = [torch.nonzero(pids == pid).flatten() for pid in pids.unique()]
        num_groups = sum(-(-len(images) // num_instances) for images in self.images_by_pid)
        self.length = num_groups // self.num_identities // world_size
        if self.num_identities > len(self.images_by_pid) or self.length == 0:
            raise InputError(
                f"{len(self.images_by_pid)} identities with {len(pids)} images cannot fill one "
                f"batch of {self.num_identities} identities x {num_instances} images"
                f"{f' on each of {world_size} processes' if world_size > 1 else ''}: "
                "lower data.batch_size"
            )
        self.seed, self.epoch = seed, 0
        self.rank, self.world_size = rank, world_size
        self.warned = False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration yields."""
        self.epoch = epoch

    @property
    def epoch_seed(self) -> int:
        """Random seed of the current epoch, different for every epoch of a run."""
        return self.seed * 1_000_003 + self.epoch

    def __len__(self) -> int:
        """Number of batches per epoch on this rank."""
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the image indices of one batch at a time, (P * K,)."""
        random = torch.Generator().manual_seed(self.epoch_seed)
        remaining = self._ordered_groups(random)
        batches = [
            _pop_distinct(remaining, self.num_identities)
            for _ in range(self.length * self.world_size)
        ]
        self._warn_of_single(_mix_single(batches))
        for batch in batches[self.rank :: self.world_size]:
            yield torch.cat([indices for _, indices in batch])

    def _warn_of_single(self, number: int) -> None:
        """Say once that batches without negatives train without the triplet loss."""
        if number and self.rank == 0 and not self.warned:
            self.warned = True
            print(
                f"warning: {number} of {self.length * self.world_size} batches of an epoch have "
                "images of one identity only: they have no triplet loss",
                file=sys.stderr,
            )

    def _ordered_groups(self, random: torch.Generator) -> list[Group]:
        """All groups of an epoch, with those of each identity spread evenly."""
        k = self.num_instances
        placed = []
        for identity, images in enumerate(self.images_by_pid):
            num_groups = -(-len(images) // k)
            num_permutations = -(-num_groups * k // len(images))  # the last group needs more
            order = torch.cat(
                [
                    images[torch.randperm(len(images), generator=random)]
                    for _ in range(num_permutations)
                ]
            )
            offset = torch.rand((), generator=random).item()
            for i, indices in enumerate(order[: num_groups * k].split(k)):
                position = (i + offset) / num_groups  # within the epoch, from 0 to 1
                placed.append((position, identity, indices))
        placed.sort(key=lambda group: group[:2])
        return [(identity, indices) for _, identity, indices in placed]


def _mix_single(batches: list[list[Group]]) -> int:
    """Give batches of one identity a group of another, in exchange for one of theirs.

    The batch with most identities gives first; none is left with a single one.

    Args:
        batches: groups of each batch, modified in place.

    Returns:
        the number of batches of one identity that remain.
    """
    counts = [Counter(identity for identity, _ in batch) for batch in batches]
    single = [number for number, identities in enumerate(counts) if len(identities) == 1]
    for done, number in enumerate(single):
        if len(counts[number]) > 1:
            continue  # it gave to another one of these
        ((identity, size),) = counts[number].items()
        if size == 1:
            return len(single)  # batches of one group
        giver = max(
            range(len(batches)),
            key=lambda other: len(counts[other]) if _can_give(counts[other], identity) else 0,
        )
        if not _can_give(counts[giver], identity):
            return len(single) - done
        common = max((i for i in counts[giver] if i != identity), key=counts[giver].__getitem__)
        given = max(p for p, (i, _) in enumerate(batches[giver]) if i == common)
        batch = batches[number]
        batch[-1], batches[giver][given] = batches[giver][given], batch[-1]
        for changed in (number, giver):
            counts[changed] = Counter(identity for identity, _ in batches[changed])
    return 0


def _can_give(identities: Counter[int], identity: int) -> bool:
    """Whether a batch keeps two identities after one of its groups becomes one of ``identity``."""
    return identities.total() - identities[identity] > 1


def _pop_distinct(groups: list[Group], count: int) -> list[Group]:
    """Remove the first ``count`` groups of distinct identities, or of any if there are too few.

    Args:
        groups: remaining groups, modified in place.
        count: number of groups to remove; not more than there are.
    """
    identities: set[int] = set()
    chosen: list[int] = []  # positions in groups
    for position, (identity, _) in enumerate(groups):
        if identity not in identities:
            identities.add(identity)
            chosen.append(position)
        if len(chosen) == count:
            break
    if len(chosen) < count:
        others = [position for position in range(len(groups)) if position not in chosen]
        chosen += others[: count - len(chosen)]
    batch = [groups[position] for position in chosen]
    for position in sorted(chosen, reverse=True):
        del groups[position]
    return batch
