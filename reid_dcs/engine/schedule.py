"""Optimizers and learning rate schedules, built from torch's."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

from reid_dcs.config import OptimizerConfig

Optimization = tuple[Optimizer, LRScheduler]
"""An optimizer and its learning rate schedule; both are stepped together."""


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], recipe: OptimizerConfig
) -> Optimizer:
    """Adam, AdamW, or SGD with momentum, of parameters or of torch's parameter groups.

    Fused, so that a step is one pass over each parameter.
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        sgd = SGD(parameters, rate, recipe.momentum, weight_decay=decay, fused=True)
        sgd.register_step_pre_hook(begin_momentum)
        return sgd
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(parameters, rate, weight_decay=decay, fused=True)


def begin_momentum(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Hook before a step of SGD: a momentum of zero for parameters that lack one beside others.

    Those are parameters that were frozen in the first steps; torch's fused step fails on them.
    """
    for group in optimizer.param_groups:
        stepped = [parameter for parameter in group["params"] if parameter.grad is not None]
        new = [p for p in stepped if optimizer.state[p].get("momentum_buffer") is None]
        if group["momentum"] and len(new) < len(stepped):
            for parameter in new:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def build_schedule(
    optimizer: Optimizer, recipe: OptimizerConfig, epochs: int, steps: int | Sequence[int]
) -> LRScheduler:
    """Linear warm-up from a hundredth of the rate, then cosine decay to zero or decay in steps.

    Args:
        optimizer: its learning rate is scheduled.
        recipe: settings; ``warmup_epochs`` are cut to half of the run.
        epochs: number of epochs of the run.
        steps: optimizer steps of every epoch, or a list of those of each epoch; the schedule is
            stepped after each.
    """
    each = [steps] * epochs if isinstance(steps, int) else steps

    def steps_before(epoch: float) -> float:
        """Steps from the beginning to a point in time; epochs after the last are like the last."""
        whole = min(int(epoch), epochs - 1)
        return sum(each[:whole]) + (epoch - whole) * each[whole]

    total = sum(each)
    warmup = min(round(steps_before(recipe.warmup_epochs)), total // 2)
    if recipe.schedule == "cosine":
        decay: LRScheduler = CosineAnnealingLR(optimizer, max(1, total - warmup))
    else:
        milestones = [int(steps_before(epoch)) - warmup for epoch in recipe.milestones]
        decay = Steps(optimizer, milestones, recipe.lr_decay)
    if not warmup:
        return decay
    warm_up = LinearLR(optimizer, start_factor=0.01, total_iters=warmup)
    return SequentialLR(optimizer, [warm_up, decay], milestones=[warmup])


class Steps(MultiStepLR):
    """Decay in steps, resumed from plain values: a checkpoint's milestones are a ``dict``."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.milestones = Counter(self.milestones)  # has ``elements()``, which a warm-up ends with
