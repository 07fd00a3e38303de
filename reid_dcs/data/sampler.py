"""P identities x K images in every batch, as batch-hard mining needs (Hermans et al., 2017)."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from reid_dcs.errors import InputError


class IdentitySampler(Sampler[Tensor]):
    """Batches of image indices: P = batch_size // K identities, K images of each.

    An epoch shows every image once, but for what fills up or is left over: an identity's images
    are shuffled and cut into groups of K, the last group filled up with images drawn again. Its
    groups are spread evenly over the epoch, so that a batch's identities differ wherever the
    data allow it. Seeded and different in each epoch; the length is exact. Ranks deal the epoch's
    batches out among themselves, the same number to each: no two show an image but to fill up.

    Args:
        pids: (N,) identity of each image.
        batch_size: P * K.
        num_instances: K.
        seed: of the first epoch's order.
        rank, world_size: which of how many processes that train together this is.

    Raises:
        InputError: no batch can be made.
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
                f"data.batch_size={batch_size} is no multiple of data.num_instances={num_instances}"
            )
        self.per_batch, self.num_instances = batch_size // num_instances, num_instances
        self.images = [torch.nonzero(pids == pid).flatten() for pid in pids.unique()]
        groups = sum(-(-len(own) // num_instances) for own in self.images)
        self.length = groups // self.per_batch // world_size
        if self.per_batch > len(self.images) or self.length == 0:
            raise InputError(
                f"{len(self.images)} identities with {len(pids)} images cannot fill one batch of "
                f"{self.per_batch} identities x {num_instances} images"
                f"{f' on each of {world_size} processes' if world_size > 1 else ''}: "
                "lower data.batch_size"
            )
        self.seed, self.epoch = seed, 0
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    @property
    def epoch_seed(self) -> int:
        """Of this epoch's randomness; no two epochs of a run share it."""
        return self.seed * 1_000_003 + self.epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        """Indices of one batch, (P * K,), at a time."""
        random = torch.Generator().manual_seed(self.epoch_seed)
        waiting = self._spread_groups(random)
        for number in range(self.length * self.world_size):
            batch = _distinct(waiting, self.per_batch)
            if number % self.world_size == self.rank:
                yield torch.cat([group for _, group in batch])

    def _spread_groups(self, random: torch.Generator) -> list[tuple[int, Tensor]]:
        """(identity, K indices) in the order of the epoch."""
        k = self.num_instances
        placed = []
        for identity, own in enumerate(self.images):
            groups = -(-len(own) // k)
            rounds = -(-groups * k // len(own))
            order = [own[torch.randperm(len(own), generator=random)] for _ in range(rounds)]
            offset = torch.rand((), generator=random).item()
            for i, group in enumerate(torch.cat(order)[: groups * k].split(k)):
                placed.append(((i + offset) / groups, identity, group))
        placed.sort(key=lambda item: item[:2])
        return [(identity, group) for _, identity, group in placed]


def _distinct(waiting: list[tuple[int, Tensor]], count: int) -> list[tuple[int, Tensor]]:
    """Take ``count`` groups off the front, of different identities as far as there are any."""
    seen: set[int] = set()
    taken: list[int] = []
    for position, (identity, _) in enumerate(waiting):
        if identity not in seen:
            seen.add(identity)
            taken.append(position)
        if len(taken) == count:
            break
    if len(taken) < count:
        others = [position for position in range(len(waiting)) if position not in taken]
        taken += others[: count - len(taken)]
    batch = [waiting[position] for position in taken]
    for position in sorted(taken, reverse=True):
        del waiting[position]
    return batch
