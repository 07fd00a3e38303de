"""An evaluation run: features kept or extracted, the gallery ranked, and what is written of it."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dcs.config import EvaluateRun, Layer, as_layer
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.mapped import fingerprint
from reid_dcs.engine import CHECKPOINT
from reid_dcs.errors import InputError
from reid_dcs.evaluation import (
    FeatureDistances,
    Features,
    KReciprocal,
    Labels,
    Ranking,
    ReRankedDistances,
    SingleShot,
    choose_queries,
    extract_features,
    rank_gallery,
    ranked_list,
)
from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.feature_cache import (
    features_file,
    features_fingerprint,
    keep_features,
    read_features,
)
from reid_dcs.evaluation.protocol import describe_protocol, protocol_warnings
from reid_dcs.files import write_json
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.runs.build import announce, build_manager
from reid_dcs.runs.output import metrics_of, open_output, table, write_setting
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.distributed import gathered, is_main
from reid_dcs.runtime.precision import Precision
from reid_dcs.visual.cmc import draw_cmc
from reid_dcs.visual.ranked_lists import draw_ranked_lists

SPLITS = ("query", "gallery")
LISTS = 8  # ranked lists in a picture

Loaders = Callable[[], Mapping[str, Iterable[dict]]]
"""Makes the loaders of both splits, which decodes images: called where no features are kept."""


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
    given = as_layer(EvaluateRun, config)
    source = given.get("eval", {}).get("weights")
    if not source:
        raise InputError("no weights given: pass --weights FILE, or a name of the model zoo")
    config, content = read_trained(source, given)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_evaluation(config, content, bool(given.get("output_dir")), device)


def run_evaluation(
    config: EvaluateRun, content: dict[str, Any], write: bool, device: torch.device
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
    said = describe_protocol(config, trained_on)
    metrics = metrics_of(config, dataset, model, ranking.summary()) | said
    if output and distributed.is_main():
        if not (output / CHECKPOINT).exists():  # a training's own configuration stays
            write_setting(output, config, device)
        write_json(output / "metrics.json", metrics)
        draw_evaluation(config, dataset, ranking, *ranked, output)
        if config.eval.report:
            from reid_dcs.report import Evaluation, report_evaluation  # which imports grad-cam

            history = content.get("history", [])
            done = Evaluation(config, dataset, model, metrics, history, ranking, *ranked)
            report_evaluation(done, output)
    print("\n".join([*protocol_warnings(said, config.data.name), table(metrics)]))
    return metrics


def query_and_gallery(
    config: EvaluateRun, dataset: ListedDataset, model: nn.Module, loaders: Loaders, folder: Path
) -> dict[str, Features]:
    """Features of both splits: those kept in ``folder``, or extracted, and then kept there.

    What is kept serves while the weights' file, the images, the network and the way of extraction
    are the same. Identities and cameras are always the data set's.
    """
    dtype = Precision(config.eval.precision, next(model.parameters()).device).dtype
    prints = {split: _fingerprint(config, dataset, split, dtype) for split in SPLITS}
    files = {split: features_file(folder, config.data.name, split) for split in SPLITS}
    kept = {split: _kept(dataset, split, files[split], prints[split]) for split in SPLITS}
    if all(all(found) for found in gathered([features is not None for features in kept.values()])):
        print(f"features of {folder / 'features-*'}: the weights and images are the same")
        return kept
    sources, features = loaders(), {}
    for split in SPLITS:
        features[split] = extract_features(
            model, sources[split], split, flip=config.eval.flip, dtype=dtype
        )
        if prints[split] and is_main():
            names = [Path(item[0]).name for item in getattr(dataset, split)]
            _keep(files[split], features[split], names, prints[split])
    return features


def rank_features(
    config: EvaluateRun, query: Features, gallery: Features, device: torch.device
) -> tuple[Ranking, Rows, Labels]:
    """The ranking, and the distances and labels it was made of; ranks share the queries."""
    options, vectors = config.eval, (query.vectors, gallery.vectors)
    if options.rerank:
        method = KReciprocal(options.k1, options.k2, options.rerank_weight)
        distances = ReRankedDistances(*vectors, options.metric, device, method, together=True)
    else:
        distances = FeatureDistances(*vectors, options.metric, device)
    labels = Labels(query.pids, gallery.pids, query.camids, gallery.camids)
    ranking = rank_gallery(
        distances,
        labels,
        rule=options.average_precision,
        single_shot=SingleShot(seed=config.seed) if options.single_shot else None,
        together=True,
    )
    return ranking, distances, labels


def draw_evaluation(
    config: EvaluateRun,
    dataset: ListedDataset,
    ranking: Ranking,
    distances: Rows,
    labels: Labels,
    output: Path,
) -> None:
    """Write ``cmc.png`` and, if asked for, ``ranks.png``: lists of ``eval.rank_queries``."""
    title = f"{config.model.name} on {config.data.name}"
    draw_cmc(ranking.summary(), title, output / "cmc.png")
    if not config.eval.ranks:
        return
    chosen = choose_queries(ranking.average_precision, config.eval.rank_queries, LISTS, config.seed)
    lists = [
        ranked_list(distances, labels, ranking, int(query), config.eval.ranks) for query in chosen
    ]
    paths = ([item[0] for item in getattr(dataset, split)] for split in SPLITS)
    draw_ranked_lists(lists, *paths, output / "ranks.png")


def _fingerprint(
    config: EvaluateRun, dataset: ListedDataset, split: str, dtype: torch.dtype
) -> str | None:
    """None where nothing is to be kept."""
    if not config.eval.keep_features:
        return None
    paths = [item[0] for item in getattr(dataset, split)]
    try:
        return features_fingerprint(
            Path(config.eval.weights),
            images=fingerprint(paths, config.data.height, config.data.width),
            model=[config.model.name, dict(config.model.options)],
            flip=config.eval.flip,
            dtype=str(dtype),
        )
    except OSError:  # an image is missing: decoding names it
        return None


def _kept(
    dataset: ListedDataset, split: str, file: Path, fingerprint: str | None
) -> Features | None:
    features = read_features(file, fingerprint) if fingerprint else None
    if features is None:
        return None
    _, pids, camids, *_ = zip(*getattr(dataset, split), strict=True)
    return Features(features.vectors, np.array(pids), np.array(camids))


def _keep(file: Path, features: Features, names: list[str], fingerprint: str) -> None:
    """An evaluation does not fail for want of room for what only saves time."""
    try:
        keep_features(file, features, names, fingerprint)
    except InputError as error:
        print(f"warning: features are not kept: {error}", file=sys.stderr)
