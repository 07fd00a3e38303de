"""Train a network and evaluate it."""

from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.config import Layer, TrainRun, compose
from reid_dcs.models import build_model
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.data import check_phases
from reid_dcs.runs.engine import build_criterion
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runs.network import check_triplet_feature
from reid_dcs.runtime import distributed
from reid_dcs.runtime.capture import check_capture
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision


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
        return ablate(config, train, check_training)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)


def check_training(config: TrainRun) -> None:
    """Check the settings of a training as far as they can be without its data.

    Raises:
        InputError: a setting that does not fit the network, the device or another setting.
    """
    with torch.device("meta"):
        build_model(config.model.name, num_classes=1, **config.model.options)
    check_phases(config)
    check_triplet_feature(config)
    build_criterion(config)
    device = choose_device(config.device)
    check_capture(config.train, device)
    Precision(config.train.precision, device)


def run_training(config: TrainRun, device: torch.device) -> dict[str, Any]:
    """Train and evaluate on a device; return the content of ``metrics.json``."""
    return jobs.train(ReIDJob(config, device))
