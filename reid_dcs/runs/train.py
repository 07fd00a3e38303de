"""Train a network and evaluate it."""

from pathlib import Path
from typing import Any

import torch

from reid_dcs.config import Layer, TrainRun, compose
from reid_dcs.data.datasets.joint import JointDataset
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.files import write_json
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.build import (
    Dataset,
    announce,
    announce_phases,
    build_engine,
    build_network,
    checkpoint_to_resume,
    continues_in,
    initial_weights,
    load_data,
    restore,
    seeded,
)
from reid_dcs.runs.output import (
    TRAINING_FILES,
    OutputFolder,
    metrics_of,
    metrics_of_parts,
    table,
    write_settings,
)
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.visual.curves import draw_curves


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
    with OutputFolder(Path(config.output_dir)) as output:
        resumed = checkpoint_to_resume(config, output.path)
        goes_on = continues_in(config, output.path, resumed)
        output.check(TRAINING_FILES, resumed=goes_on)
        initial = None if resumed else initial_weights(config)
        dataset, manager = load_data(config, device, initial, resumed)
        with seeded(config.seed):
            model = build_network(config, manager.num_train_pids, device, initial)
        engine = build_engine(config, model, manager)
        if resumed:
            restore(engine, resumed, f"resume={config.resume}")
        output.open(TRAINING_FILES, fresh=not goes_on, resumed=goes_on)
        write_settings(output.path, config, device)
        announce(config, dataset, model, device)
        announce_phases(config)
        return fit(config, engine, dataset, output.path)


def fit(config: TrainRun, engine: ReIDEngine, dataset: Dataset, output: Path) -> dict[str, Any]:
    """Train to the last epoch, evaluate, and write metrics, curves and the checkpoint."""
    result = engine.run(output, config.train.epochs, eval_freq=config.eval.every)
    seconds = sum(entry["seconds"] for entry in engine.history)
    metrics = metrics_of(config, dataset, engine.model, result)
    if isinstance(dataset, JointDataset):
        metrics |= metrics_of_parts(dataset, engine.results)
    metrics["train_seconds"] = round(seconds, 1)
    engine.description["metrics"] = metrics
    engine.save(evaluated=True)
    if distributed.is_main():
        title = f"{config.model.name} on {config.data.name}"
        draw_curves(engine.history, title, output / "curves.png")
        write_json(output / "metrics.json", metrics)
    print(f"{table(metrics)}\n\nwritten to {output}/")
    return metrics
