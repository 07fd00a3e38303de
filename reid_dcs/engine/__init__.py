"""Training: one torchreid engine, its checkpoints and its schedules."""

from reid_dcs.engine.checkpoint import CHECKPOINT, save_checkpoint
from reid_dcs.engine.schedule import warmup_cosine
from reid_dcs.engine.train import ReIDEngine

__all__ = [
    "CHECKPOINT",
    "ReIDEngine",
    "save_checkpoint",
    "warmup_cosine",
]
