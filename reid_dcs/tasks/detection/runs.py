"""Entry points: train, search and evaluate a detector."""

from pathlib import Path
from typing import Any

from reid_dcs import jobs
from reid_dcs.config import Layer, as_layer, compose
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.jobs.output import OutputFolder
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision
from reid_dcs.tasks.detection.data.find import load_split
from reid_dcs.tasks.detection.evaluation import evaluate_detector
from reid_dcs.tasks.detection.job import DetectionJob
from reid_dcs.tasks.detection.report import Evaluation, write_page
from reid_dcs.tasks.detection.results import table
from reid_dcs.tasks.detection.settings import (
    DetectEvaluateRun,
    DetectSearchRun,
    DetectTrainRun,
)
from reid_dcs.tasks.detection.trained import load_detector


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
    """Evaluate trained weights; with ``output_dir``, write ``metrics.json`` there.

    Raises:
        InputError: invalid setting, path or file, or other categories than the weights have.
    """
    given = as_layer(DetectEvaluateRun, config)
    settings = compose(DetectEvaluateRun, given)
    if not settings.eval.weights:
        raise InputError("--weights: give a checkpoint of detect train or detect search")
    with distributed.process_group(choose_device(settings.device)) as device:
        trained = load_detector(settings.eval.weights, device)
        data = settings.data
        annotations = load_split(data.name, Path(data.root), settings.eval.split).require_valid()
        if annotations.categories != trained.categories:
            raise InputError(
                f"{annotations.file} has other categories than {settings.eval.weights} was "
                "trained on"
            )
        report = ("report.html",) if settings.eval.report else ()
        with OutputFolder(Path(settings.output_dir)) as output:
            files = ("metrics.json", *report)
            if given.get("output_dir") or report:
                output.check(files)
            with Precision(settings.eval.precision, device).autocast():
                result = evaluate_detector(trained.detector, annotations, settings.eval.batch_size)
            metrics = result | {
                "dataset": data.name,
                "split": settings.eval.split,
                "num_images": len(annotations.images),
                "num_objects": sum(len(image.things) for image in annotations.images),
                "model": trained.card.model,
            }
            if given.get("output_dir") or report:
                output.open(files)
                if distributed.is_main():
                    write_json(output.path / "metrics.json", metrics)
                if distributed.is_main() and report:
                    evaluation = Evaluation(settings, trained, annotations, metrics)
                    write_page(evaluation, output.path / report[0])
    print(table(metrics))
    return metrics
