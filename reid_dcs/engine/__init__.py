"""Training on any task: the trainer, its checkpoints and its schedules.

Re-ID's engine, a torchreid engine, is ``reid_dcs.engine.reid``; nothing here imports it.
"""

from reid_dcs.engine.checkpoint import (
    CHECKPOINT,
    check_parts,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.engine.freezing import Freezing
from reid_dcs.engine.policy import Policy
from reid_dcs.engine.schedule import Optimization, build_optimizer, build_schedule
from reid_dcs.engine.task import Losses, Metrics, Task
from reid_dcs.engine.trainer import Trainer

__all__ = [
    "CHECKPOINT",
    "Freezing",
    "Losses",
    "Metrics",
    "Optimization",
    "Policy",
    "Task",
    "Trainer",
    "build_optimizer",
    "build_schedule",
    "check_parts",
    "check_same_run",
    "read_checkpoint",
    "read_last_checkpoint",
]
