"""The optimizer and its learning rate over a run: torch's own, composed."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

from reid_dcs.config import OptimizerConfig


def build_optimizer(parameters: Iterable[nn.Parameter], recipe: OptimizerConfig) -> Optimizer:
    """Adam, or SGD with momentum, fused: one pass over each parameter a step."""
    common = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return Adam(parameters, **common)
    return SGD(parameters, momentum=recipe.momentum, **common)


def build_schedule(
    optimizer: Optimizer, recipe: OptimizerConfig, epochs: int, steps: int
) -> LRScheduler:
    """Rise linearly from a hundredth, then fall along a cosine to zero or in steps.

    Args:
        recipe: ``warmup_epochs`` of it, at most half of the run, are the rise.
        epochs: of the run.
        steps: of an epoch; the schedule is stepped as often.
    """
    total = epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 2)
    if recipe.schedule == "cosine":
        fall = CosineAnnealingLR(optimizer, max(1, total - warmup))
    else:
        milestones = [epoch * steps - warmup for epoch in recipe.milestones]
        fall = MultiStepLR(optimizer, milestones, recipe.lr_decay)
    if not warmup:
        return fall
    rise = LinearLR(optimizer, start_factor=0.01, total_iters=warmup)
    return SequentialLR(optimizer, [rise, fall], milestones=[warmup])
