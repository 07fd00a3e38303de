"""P x K batches: P identities with K images each, for batch-hard mining (Hermans et al., 2017)."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from reid_dcs.errors import InputError

Group = tuple[int, Tensor]
"""An identity's index and (K,) image indices of it."""


class IdentitySampler(Sampler[Tensor]):
    """Batches of image indices: K images of each of P = batch_size / K identities.

    Each epoch shuffles the images of every identity and splits them into groups of K; the last
    group of an identity is completed with images drawn again. The groups of an identity are
    spread evenly over the epoch. A batch is the next P groups of different identities; identities
    repeat only when too few are left. So an epoch shows every image once, apart from the
    completed groups and the groups left over at the end, too few for another batch.

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
        if num_instances < 1 or batch_size < 1 or batch_size % num_instances:
            raise InputError(
                f"data.batch_size={batch_size} is not a positive multiple of "
                f"data.num_instances={num_instances}: change one of them"
            )
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
        for number in range(self.length * self.world_size):
            batch = _pop_distinct(remaining, self.num_identities)
            if number % self.world_size == self.rank:
                yield torch.cat([indices for _, indices in batch])

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
