"""Train a network and evaluate it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_dcs.config import Layer, TrainRun, compose
from reid_dcs.files import write_json
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.build import Parts, announce, assemble, build_engine, checkpoint_to_resume
from reid_dcs.runs.output import metrics_of, open_output, table, write_setting
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.visual.curves import draw_curves


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and leave everything in ``output_dir``.

    With ``ablation.rows`` there is a training for each row and seed, and a table: see
    :func:`reid_dcs.runs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds; of an ablation, of each row a list over the seeds.

    Raises:
        InputError: anything the user can mend; found before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    config = compose(TrainRun, config)
    if config.ablation.rows:
        return ablate(config, train)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)[0]


def run_training(
    config: TrainRun, device: torch.device, prepare: Callable[[nn.Module], None] | None = None
) -> tuple[dict[str, Any], Parts]:
    """``prepare`` is given the fresh network: a search puts in what it found."""
    output = Path(config.output_dir)
    resumed = checkpoint_to_resume(config, output)
    parts = assemble(config, device)
    if prepare:
        prepare(parts.model)
    engine = build_engine(config, parts)
    start_epoch = engine.resume(resumed) if resumed else 0
    open_output(output, fresh=resumed is None)
    write_setting(output, config, device)
    announce(config, parts.dataset, parts.model, device)

    result = engine.run(output, config.train.epochs, start_epoch, config.eval.every)
    seconds = sum(entry["seconds"] for entry in engine.history)
    metrics = metrics_of(config, parts.dataset, parts.model, result)
    metrics["train_seconds"] = round(seconds, 1)
    engine.description["metrics"] = metrics
    engine.save_model(config.train.epochs, metrics["rank1"], output)
    if distributed.is_main():
        title = f"{config.model.name} on {config.data.name}"
        draw_curves(engine.history, title, output / "curves.png")
        write_json(output / "metrics.json", metrics)
    print(f"{table(metrics)}\n\nwritten to {output}/")
    return metrics, parts
