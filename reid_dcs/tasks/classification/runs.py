"""Entry points: train, search, evaluate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.attention.options import options_of_file
from reid_dcs.config import Layer, as_layer, compose
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.inference.load import CLASSIFICATION, build_described, read_described
from reid_dcs.jobs.evaluation import evaluation_output, required_weights, settings_files
from reid_dcs.jobs.output import OutputFolder, write_settings
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision
from reid_dcs.tasks.classification.data import (
    as_evaluated,
    check_outside_splits,
    list_evaluation_images,
    stored,
)
from reid_dcs.tasks.classification.job import ClassificationJob
from reid_dcs.tasks.classification.loader import evaluation_loader
from reid_dcs.tasks.classification.results import results, table
from reid_dcs.tasks.classification.settings import (
    ClassifyEvaluateRun,
    ClassifySearchRun,
    ClassifyTrainRun,
    data_name,
)
from reid_dcs.tasks.classification.sources import read_label_map
from reid_dcs.tasks.classification.task import predict
from reid_dcs.weights import ModelCard


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and write everything to ``output_dir``.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        the content of ``metrics.json``.

    Raises:
        InputError: invalid setting, path or file; raised before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    return _run(compose(ClassifyTrainRun, config), jobs.train)


def search(config: Layer) -> dict[str, Any]:
    """Search channels or a backbone, train the result and evaluate it; see :func:`train`."""
    return _run(compose(ClassifySearchRun, config), jobs.search)


def _run(config: ClassifyTrainRun, proceed: Callable[[jobs.Job], dict[str, Any]]) -> dict[str, Any]:
    with distributed.process_group(choose_device(config.device)) as device:
        return proceed(ClassificationJob(config, device))


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``: a checkpoint, a name of the model zoo, or bare weights together
    with ``model.name``.

    Model, classes and preprocessing default to those of the weights' card.

    Args:
        config: some or all settings.

    Returns:
        the content of ``metrics.json``. If ``output_dir`` is given, it is written there;
        ``eval.report`` adds ``report.html``.

    Raises:
        InputError: invalid setting, path or file.
    """
    given = as_layer(ClassifyEvaluateRun, config)
    source = required_weights(given)
    _, content, card = read_described(source, given, [CLASSIFICATION])
    settings, card = _settings_of_card(given, card)
    with (
        distributed.process_group(choose_device(settings.device)) as device,
        evaluation_output(given, settings) as folder,
    ):
        return _evaluate(settings, card, content, folder, device)


def _settings_of_card(
    given: dict[str, Any], card: ModelCard
) -> tuple[ClassifyEvaluateRun, ModelCard]:
    """The user's settings, completed by the card, and the card with the settings' input size."""
    options = options_of_file(card.model, card.options)
    pixels = card.preprocessing
    implied = {
        "model": {"name": card.model, "options": options},
        "data": {"height": pixels.height, "width": pixels.width, "crop": pixels.center_crop},
    }
    if card.trained_on == "" and not card.classes:  # a file without a card says nothing of these
        del implied["data"]
    settings = compose(ClassifyEvaluateRun, implied, given)
    data = settings.data
    pixels = replace(pixels, height=data.height, width=data.width, center_crop=data.crop)
    classes = card.classes
    if data.label_map and not data.val_shards:  # of shards it names the labels
        names = read_label_map(data.label_map, card.num_classes)
        for output, (name, mapped) in enumerate(zip(classes, names, strict=False)):
            if name != mapped:
                raise InputError(
                    f"data.label_map={data.label_map} does not fit the weights: output {output} "
                    f"is {name!r}, not {mapped!r}"
                )
        classes = names
    return settings, replace(
        card, options=dict(settings.model.options), preprocessing=pixels, classes=classes
    )


def _evaluate(
    config: ClassifyEvaluateRun,
    card: ModelCard,
    content: dict[str, Any],
    folder: OutputFolder | None,
    device: torch.device,
) -> dict[str, Any]:
    if folder:
        check_outside_splits(folder.path, config.data)
    images = list_evaluation_images(config.data, card.classes)
    if len(images.classes) != card.num_classes:
        raise InputError(
            f"{config.eval.weights} has {card.num_classes} outputs, but the images have "
            f"{len(images.classes)} classes: pass data.label_map=FILE with the names of the outputs"
        )
    network = build_described(card, content["state_dict"], config.eval.weights, device)
    pixels = card.preprocessing
    images = stored(images, config.data, "val", pixels)
    loader = evaluation_loader(
        images, as_evaluated(images, pixels), config.eval.batch_size, config.data.workers
    )
    if folder:
        page = ["report.html"] * config.eval.report
        folder.open(["metrics.json", *settings_files(folder.path), *page])
    precision = Precision(config.eval.precision, device)
    print(
        f"{card.model} on {len(images.names):,} images of {len(images.classes)} classes at "
        f"{pixels.height}x{pixels.width}, on {device} in {precision.name}",
        flush=True,
    )
    predictions = predict(network, loader, precision, pixels)
    metrics = results(predictions, images.classes, network, pixels) | {
        "dataset": data_name(config.data),
        "model": card.model,
        "trained_on": card.trained_on,
    }
    if folder and distributed.is_main():
        if settings_files(folder.path):
            write_settings(folder.path, config, precision)
        write_json(folder.path / "metrics.json", metrics)
        if config.eval.report:
            from reid_dcs.tasks.classification.report import Evaluation, write_page

            history = content.get("history", [])
            evaluation = Evaluation(config, card, network, metrics, history, predictions, images)
            write_page(evaluation, folder.path / "report.html")
    print(table(metrics))
    return metrics
