"""Entry points: train, search and evaluate a detector."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.config import Layer, as_layer, compose
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.inference.load import check_model
from reid_dcs.jobs.evaluation import evaluation_output, required_weights, settings_files
from reid_dcs.jobs.output import OutputFolder, write_settings
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision
from reid_dcs.tasks.detection.data.annotations import check_evaluable
from reid_dcs.tasks.detection.data.find import check_outside_split, load_split
from reid_dcs.tasks.detection.evaluation import evaluate_detector
from reid_dcs.tasks.detection.job import DetectionJob
from reid_dcs.tasks.detection.report import Evaluation, write_page
from reid_dcs.tasks.detection.results import table
from reid_dcs.tasks.detection.settings import (
    DetectEvaluateRun,
    DetectSearchRun,
    DetectTrainRun,
    data_name,
)
from reid_dcs.tasks.detection.trained import TrainedDetector, load_detector


def train(config: Layer) -> dict[str, Any]:
    """Train a detector and evaluate it; write everything to ``output_dir``.

    Args:
        config: some or all settings of ``detect train``; the others keep their defaults.

    Returns:
        the content of ``metrics.json``.

    Raises:
        InputError: invalid setting, path or file; raised before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    settings = compose(DetectTrainRun, config)
    with distributed.process_group(choose_device(settings.device)) as device:
        return jobs.train(DetectionJob(settings, device))


def search(config: Layer) -> dict[str, Any]:
    """Search the channels of a detector's attention, then train and evaluate it; as ``train``."""
    settings = compose(DetectSearchRun, config)
    with distributed.process_group(choose_device(settings.device)) as device:
        return jobs.search(DetectionJob(settings, device))


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``, a checkpoint; the model is that of the weights.

    Args:
        config: some or all settings.

    Returns:
        the content of ``metrics.json``. If ``output_dir`` is given, it is written there;
        ``eval.report`` adds ``report.html``.

    Raises:
        InputError: invalid setting, path or file, other categories than the weights have, or no
            objects to evaluate on; nothing is written.
    """
    given = as_layer(DetectEvaluateRun, config)
    source = required_weights(given)
    settings = compose(DetectEvaluateRun, given)
    with (
        distributed.process_group(choose_device(settings.device)) as device,
        evaluation_output(given, settings) as folder,
    ):
        trained = load_detector(source, device)
        check_model(trained.card, given, source)
        _check_options(trained.card.options, settings.model.options, source)
        settings.model.name = trained.card.model
        settings.model.options = dict(trained.card.options)
        return _evaluate(settings, trained, folder, device)


def _check_options(trained: Mapping[str, Any], given: Mapping[str, Any], source: object) -> None:
    """Check that the user's ``model.options``, if any, are those of the weights."""
    for key, value in given.items():
        if key not in trained or trained[key] != value:
            there = f"{key}={trained[key]}" if key in trained else f"the default of {key}"
            raise InputError(
                f"model.options.{key}={value}: {source} was trained with {there}: leave it out"
            )


def _evaluate(
    config: DetectEvaluateRun,
    trained: TrainedDetector,
    folder: OutputFolder | None,
    device: torch.device,
) -> dict[str, Any]:
    data = config.data
    with distributed.main_first():  # rank 0 draws the generated set
        annotations = load_split(data.name, Path(data.root), config.eval.split).require_valid()
    if folder:
        check_outside_split(folder.path, data.name, annotations)
    if annotations.categories != trained.categories:
        raise InputError(
            f"{annotations.file} has other categories than {config.eval.weights} was trained on"
        )
    check_evaluable(annotations)
    if folder:
        page = ["report.html"] * config.eval.report
        folder.open(["metrics.json", *settings_files(folder.path), *page])
    precision = Precision(config.eval.precision, device)
    with precision.autocast():
        result = evaluate_detector(trained.detector, annotations, config.eval.batch_size)
    metrics = result | {
        "dataset": data_name(data),
        "split": config.eval.split,
        "num_images": len(annotations.images),
        "num_objects": sum(len(image.things) for image in annotations.images),
        "model": trained.card.model,
    }
    if folder and distributed.is_main():
        if settings_files(folder.path):
            write_settings(folder.path, config, precision)
        write_json(folder.path / "metrics.json", metrics)
        if config.eval.report:
            evaluation = Evaluation(config, trained, annotations, metrics)
            write_page(evaluation, folder.path / "report.html")
    print(table(metrics))
    return metrics
