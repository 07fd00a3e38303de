"""Train a network and evaluate it, as a job of any task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reid_dcs.engine import Trainer
from reid_dcs.files import write_json
from reid_dcs.jobs.job import Job
from reid_dcs.jobs.networks import without_pretrained
from reid_dcs.jobs.output import TRAINING_FILES, OutputFolder, write_settings
from reid_dcs.jobs.resume import bring_best, checkpoint_to_resume, continues_in, restore_training
from reid_dcs.runtime import distributed
from reid_dcs.runtime.randomness import seeded
from reid_dcs.visual.curves import draw_curves


def train(job: Job) -> dict[str, Any]:
    """Train and evaluate; write everything to ``output_dir``.

    Returns:
        the content of ``metrics.json``.

    Raises:
        InputError: invalid setting, path or file; raised before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    with OutputFolder(Path(job.config.output_dir)) as output:
        trainer = begin(job, output, TRAINING_FILES)
        metrics = fit(job, job.config, trainer, output.path)
        return write_metrics(job, metrics, output.path)


def begin(job: Job, output: OutputFolder, files: Sequence[str]) -> Trainer:
    """Build the trainer of a new or resumed training, and open its folder.

    Args:
        files: names of what the run writes to the folder.
    """
    config = job.config
    resumed = checkpoint_to_resume(config, output.path)
    goes_on = continues_in(config, output.path, resumed)
    output.check(files, resumed=goes_on)
    initial = None if resumed else job.read_initial()
    job.load_data(initial, resumed)
    with seeded(config.seed):
        network = job.build_network(without_pretrained(config) if resumed else config, initial)
    trainer = job.build_trainer(config, network)
    if resumed:
        restore_training(trainer, resumed, config.train, f"resume={config.resume}")
    output.open(files, fresh=not goes_on, resumed=goes_on)
    if resumed and not goes_on:
        trainer.best = bring_best(Path(config.resume), resumed, output.path)
    write_settings(output.path, config, job.precision)
    job.announce(network)
    return trainer


def fit(job: Job, config: Any, trainer: Trainer, output: Path) -> dict[str, Any]:
    """Train to the last epoch, evaluate, write curves and checkpoint; return the metrics."""
    trainer.run(output, config.train.epochs, eval_freq=config.eval.every)
    metrics = job.metrics(config, trainer)
    seconds = sum(entry["seconds"] for entry in trainer.history)
    metrics["train_seconds"] = round(seconds, 1)
    trainer.description["metrics"] = metrics
    trainer.save(evaluated=True)
    if distributed.is_main():
        title = f"{config.model.name} on {job.data_name}"
        draw_curves(trainer.history, title, output / "curves.png")
    return metrics


def write_metrics(job: Job, metrics: dict[str, Any], output: Path) -> dict[str, Any]:
    """Write and print the metrics: ``metrics.json``, the last file of a run, says it is finished.

    Returns:
        the metrics.
    """
    if distributed.is_main():
        write_json(output / "metrics.json", metrics)
    print(f"{job.table(metrics)}\n\nwritten to {output}/")
    return metrics
