"""The learning rate over a run: torch's own schedules, composed."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR


def warmup_cosine(optimizer: Optimizer, steps: int, warmup_steps: int) -> LRScheduler:
    """Rise linearly from a hundredth, then fall to zero along a cosine; stepped once a batch.

    Args:
        steps: of the whole run.
        warmup_steps: of the rise; at most half of the run is taken.
    """
    warmup_steps = min(warmup_steps, steps // 2)
    cosine = CosineAnnealingLR(optimizer, max(1, steps - warmup_steps))
    if not warmup_steps:
        return cosine
    warmup = LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps)
    return SequentialLR(optimizer, [warmup, cosine], milestones=[warmup_steps])
