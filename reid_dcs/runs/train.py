"""Train a network and evaluate it."""

from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.config import Layer, TrainRun, compose
from reid_dcs.jobs.networks import initial_weights
from reid_dcs.runs.ablation import ablate, check_no_seeds
from reid_dcs.runs.data import check_without_data
from reid_dcs.runs.engine import build_criterion
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runs.network import training_preprocessing
from reid_dcs.runtime import distributed
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
    check_no_seeds(config.ablation)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)


def check_training(config: TrainRun) -> None:
    """Check the settings of a training as far as they can be without its data.

    Raises:
        InputError: a setting that does not fit the network, the device or another setting.
    """
    device = choose_device(config.device)
    initial = initial_weights(config.train.init, training_preprocessing(config))
    check_without_data(config, device, initial)
    build_criterion(config)
    Precision(config.train.precision, device)


def run_training(config: TrainRun, device: torch.device) -> dict[str, Any]:
    """Train and evaluate on a device; return the content of ``metrics.json``."""
    return jobs.train(ReIDJob(config, device))
