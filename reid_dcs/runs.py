"""Whole runs: the rooms of the house put together. What tools/ and users' scripts call."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_dcs import distributed
from reid_dcs.ablation import ablate
from reid_dcs.assembly import (
    Parts,
    announce,
    assemble,
    build_engine,
    build_manager,
    checkpoint_to_resume,
)
from reid_dcs.config import Config, Layer, compose, to_layer
from reid_dcs.data.datasets import load_dataset
from reid_dcs.engine import CHECKPOINT
from reid_dcs.engine.curves import draw_curves
from reid_dcs.engine.device import choose_device
from reid_dcs.errors import InputError
from reid_dcs.evaluating import (
    departures,
    draw_evaluation,
    query_and_gallery,
    rank_features,
    said_of,
)
from reid_dcs.files import write_json
from reid_dcs.models import build_model
from reid_dcs.output import metrics_of, open_output, table, write_setting
from reid_dcs.search import search_parameters
from reid_dcs.search.supergraph import is_space
from reid_dcs.searching import after_search, put_windows, run_search, write_windows
from reid_dcs.trained import load_trained, read_trained


def train(config: Layer) -> dict[str, Any]:
    """Train a network, evaluate it, and leave everything in ``output_dir``.

    With ``ablation.rows`` there is a training for each row and seed, and a table: see
    :func:`reid_dcs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds; of an ablation, of each row a list over the seeds.

    Raises:
        InputError: anything the user can mend; found before training, nothing is written.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    config = compose(config)
    if config.ablation.rows:
        return ablate(config, train)
    with distributed.process_group(choose_device(config.device)) as device:
        return _train(config, device)[0]


def search(config: Layer) -> dict[str, Any]:
    """Algorithm 1, the training of what it found, and its evaluation, as one job.

    ``output_dir`` receives what a training leaves, ``windows.json``, ``architecture.json`` where a
    backbone was searched too, and the search's own files in ``search/``. With ``resume=auto`` it
    goes on in the phase that it was in. With ``ablation.rows`` there is a job for each row and
    seed, and a table: see :func:`reid_dcs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds; of an ablation, of each row a list over the seeds.

    Raises:
        InputError: anything the user can mend.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    config = compose(config)
    if config.ablation.rows:
        return ablate(config, _search_or_train)
    with distributed.process_group(choose_device(config.device)) as device:
        found = run_search(config, device)
        training = after_search(config, found)
        print("\ntraining", flush=True)
        begin = partial(put_windows, found=found.state, retrain=config.search.retrain)
        metrics, parts = _train(training, device, begin)
        output = Path(config.output_dir)
        write_setting(output, config, device)  # of the job, not of its second half
        if distributed.is_main():
            write_windows(config, parts, output)
    return metrics


def _search_or_train(config: Config) -> dict[str, Any]:
    """A row of an ablation: the networks without windows to search are trained alone."""
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    _, windows, logits = search_parameters(model)
    searched = windows or logits or is_space(config.model.name)
    return search(config) if searched else train(config)


def _train(
    config: Config, device: torch.device, prepare: Callable[[nn.Module], None] | None = None
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


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``: a checkpoint of ours, of torchreid's with ``model.name``, or a
    name of the model zoo.

    A checkpoint of ours says which model, input size and data set it was trained with. Settings
    given here win, but naming another architecture is an error.

    Args:
        config: some or all settings.

    Returns:
        what ``metrics.json`` holds; it is written where ``output_dir`` is given, with ``cmc.png``
        if ``eval.ranks`` is set, ``ranks.png``, and if ``eval.report`` is, ``report.html``.

    Raises:
        InputError: anything the user can mend.
    """
    given = to_layer(config) if isinstance(config, Config) else config
    source = given.get("eval", {}).get("weights")
    if not source:
        raise InputError("no weights given: pass --weights FILE, or a name of the model zoo")
    config, content = read_trained(source, given)
    with distributed.process_group(choose_device(config.device)) as device:
        return _evaluate(config, content, bool(given.get("output_dir")), device)


def _evaluate(
    config: Config, content: dict[str, Any], write: bool, device: torch.device
) -> dict[str, Any]:
    source = config.eval.weights
    for setting in ("ranks", "report"):
        if getattr(config.eval, setting) and not write:
            raise InputError(f"eval.{setting} writes into the output folder: pass --output-dir DIR")
    with distributed.main_first():
        dataset = load_dataset(config.data.name, config.data.root, config.data.options)
    model = load_trained(config, content, source, device)
    output = open_output(Path(config.output_dir), fresh=False) if write else None
    announce(config, dataset, model, device)

    def loaders():
        manager = build_manager(config, dataset, device, train=False)
        return manager.test_loader[config.data.name]

    features = query_and_gallery(config, dataset, model, loaders, output or Path(source).parent)
    ranking, *ranked = rank_features(config, features["query"], features["gallery"], device)
    trained_on = content.get("config", {}).get("data", {}).get("name")
    said = said_of(config, trained_on)
    metrics = metrics_of(config, dataset, model, ranking.summary()) | said
    if output and distributed.is_main():
        if not (output / CHECKPOINT).exists():  # a training's own configuration stays
            write_setting(output, config, device)
        write_json(output / "metrics.json", metrics)
        draw_evaluation(config, dataset, ranking, *ranked, output)
        if config.eval.report:
            from reid_dcs.reporting import Evaluation, report_evaluation  # which imports grad-cam

            history = content.get("history", [])
            done = Evaluation(config, dataset, model, metrics, history, ranking, *ranked)
            report_evaluation(done, output)
    print("\n".join([*departures(said, config.data.name), table(metrics)]))
    return metrics
