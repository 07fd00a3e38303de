"""What the windows of a trained network are worth: its evaluation with other windows.

The network is evaluated as trained, with all channels selected, with its windows shuffled over the
positions of an image, with random windows of the same lengths, and without its attention
(:mod:`reid_dcs.attention.substitution`). Weights, images and protocol are the same for every row.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_dcs.attention import SUBSTITUTIONS, substitute, substitutions
from reid_dcs.config import EvaluateRun, Layer, WorthRun, as_layer
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankResult
from reid_dcs.evaluation.protocol import describe_protocol, protocol_warnings
from reid_dcs.files import check_writable, write_json
from reid_dcs.inference.load import TrainedWeights, load_trained, read_trained
from reid_dcs.jobs.evaluation import evaluation_output, required_weights
from reid_dcs.runs.announce import announce
from reid_dcs.runs.data import build_evaluation_loaders, load_test_data
from reid_dcs.runs.outside import check_outside_data
from reid_dcs.runs.ranking import SPLITS, Loaders, extract_split, rank_splits
from reid_dcs.runs.results import metrics_of
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision

Row = dict[str, float]
"""Metrics as fractions: mAP, rank1, rank5, rank10, mINP."""


def worth(config: Layer, json: str | Path | None = None) -> dict[str, Any]:
    """Evaluate ``eval.weights`` with other windows, and print a table.

    Args:
        config: settings, as for :func:`reid_dcs.runs.evaluate`; ``seed`` is that of the shuffled
            and random windows.
        json: file that receives the result. If ``output_dir`` is given, ``worth.json`` in it does.

    Returns:
        what ``metrics.json`` has of an evaluation as trained, the ``seed``, and ``rows``: metrics
        by name, ``as_trained`` and those keys of ``SUBSTITUTIONS`` that the network allows.

    Raises:
        InputError: invalid setting, path or file, or a network without attention.
    """
    given = as_layer(WorthRun, config)
    weights = read_trained(required_weights(given), given)
    files = [Path(json)] if json else []
    for file in files:
        check_writable(file)
    with distributed.process_group(choose_device(weights.config.device)) as device:
        model = load_trained(weights, device)
        check_attention(weights, model)
        dataset = load_test_data(weights.config)
        with evaluation_output(given, weights.config, needing=()) as folder:
            if folder:
                check_outside_data(folder.path, weights.config.data, dataset)
                files.append(folder.open(["worth.json"]) / "worth.json")
            content = run_worth(weights, dataset, model, device)
            if distributed.is_main():
                for file in files:
                    write_json(file, content)
        print(worth_table(content["rows"]))
    return content


def run_worth(
    weights: TrainedWeights, dataset: ListedDataset, model: nn.Module, device: torch.device
) -> dict[str, Any]:
    """Decode the images once and evaluate every row."""
    config, card = weights.config, weights.card
    announce(config, dataset, model, Precision(config.eval.precision, device))
    protocol = describe_protocol(config.eval, card.trained_on or None)
    for warning in protocol_warnings(protocol, config.data.name):
        print(warning)
    loaders = build_evaluation_loaders(config, dataset, device, card.preprocessing)
    as_trained = evaluate_model(config, model, loaders, device)
    rows = worth_rows(config, model, loaders, device, as_trained)
    metrics = metrics_of(config, dataset, model, as_trained)
    return metrics | protocol | {"seed": config.seed, "rows": rows}


def worth_rows(
    config: EvaluateRun,
    model: nn.Module,
    loaders: Loaders,
    device: torch.device,
    as_trained: RankResult,
) -> dict[str, Row]:
    """The metrics of each substitution after those of the network as trained."""
    rows = {"as_trained": as_trained.metrics()}
    for name in substitutions(model):
        changed = substitute(model, name, config.seed)
        rows[name] = evaluate_model(config, changed, loaders, device).metrics()
    return rows


def evaluate_model(
    config: EvaluateRun, model: nn.Module, loaders: Loaders, device: torch.device
) -> RankResult:
    """Extract the features of both splits and rank the gallery."""
    features = {split: extract_split(config, model, loaders[split], split) for split in SPLITS}
    return rank_splits(config, features, device).ranking.summary()


def check_attention(weights: TrainedWeights, model: nn.Module) -> None:
    """Check that there are windows to replace.

    Raises:
        InputError: the network has no attention blocks.
    """
    if not substitutions(model):
        raise InputError(
            f"{weights.source} holds {weights.card.model}, which has no attention whose windows "
            "could be replaced: choose weights of a network such as mobilenetv2_dcs"
        )


def worth_table(rows: Mapping[str, Row]) -> str:
    """Format mAP, rank-1 and mINP in per cent, with the difference from the network as trained."""
    names = ("mAP", "rank1", "mINP")
    titles = {"as_trained": "as trained"} | SUBSTITUTIONS
    width = max(map(len, titles.values()))
    lines = ["", " " * width + "".join(f"{name:>8}{'':8}" for name in names)]
    reference = rows["as_trained"]
    for row, metrics in rows.items():
        cells = []
        for name in names:
            change = 100 * (metrics[name] - reference[name])
            cells.append(f"{100 * metrics[name]:8.2f}" + f"{change:+z8.2f}" * (row != "as_trained"))
        lines.append(f"{titles[row]:{width}}" + "".join(f"{cell:16}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)
