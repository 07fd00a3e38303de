"""Train a network and evaluate it."""

from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.config import Layer, TrainRun, compose
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and write everything to ``output_dir``.

    ``ablation.rows`` runs a training for each row and seed: see
    :func:`reid_dcs.runs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        the content of ``metrics.json``; for an ablation, a list over the seeds for each row.

    Raises:
        InputError: invalid setting, path or file; raised before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    config = compose(TrainRun, config)
    if config.ablation.rows:
        return ablate(config, train)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)


def run_training(config: TrainRun, device: torch.device) -> dict[str, Any]:
    """Train and evaluate on a device; return the content of ``metrics.json``."""
    return jobs.train(ReIDJob(config, device))
