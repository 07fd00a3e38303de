"""Training: one torchreid engine, its checkpoints and its schedules."""

from reid_dcs.engine.checkpoint import (
    CHECKPOINT,
    check_same_run,
    read_checkpoint,
    read_last_checkpoint,
)
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.engine.schedule import build_optimizer, build_schedule

__all__ = [
    "CHECKPOINT",
    "ReIDEngine",
    "build_optimizer",
    "build_schedule",
    "check_same_run",
    "read_checkpoint",
    "read_last_checkpoint",
]
