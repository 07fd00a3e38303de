"""Evaluate trained weights: extract features or read cached ones, rank, write the results."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dcs.config import EvaluateRun, Layer, as_layer
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.mapped import fingerprint
from reid_dcs.errors import InputError
from reid_dcs.evaluation import (
    Features,
    Labels,
    Ranking,
    check_open_set,
    choose_queries,
    open_set,
    ranked_list,
    write_ranked_lists,
)
from reid_dcs.evaluation.distances import Rows
from reid_dcs.evaluation.feature_cache import (
    features_file,
    features_fingerprint,
    read_features,
    write_features,
)
from reid_dcs.evaluation.protocol import describe_protocol, protocol_warnings
from reid_dcs.files import write_json
from reid_dcs.inference.load import TrainedWeights, load_trained, read_trained
from reid_dcs.jobs.evaluation import evaluation_output, required_weights, settings_files
from reid_dcs.jobs.output import OutputFolder, write_settings
from reid_dcs.runs.announce import announce
from reid_dcs.runs.data import build_evaluation_loaders, load_test_data
from reid_dcs.runs.outside import check_outside_data
from reid_dcs.runs.ranking import (
    SPLITS,
    Loaders,
    extract_split,
    feature_dtype,
    rank_splits,
)
from reid_dcs.runs.results import metrics_of, table
from reid_dcs.runs.worth import check_attention, worth_rows
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.distributed import gathered, is_main
from reid_dcs.runtime.precision import Precision
from reid_dcs.visual.cmc import draw_cmc
from reid_dcs.visual.ranked_lists import draw_ranked_lists
from reid_dcs.zoo import PACKAGE

LISTS = 8  # ranked lists in ranks.png

BuildLoaders = Callable[[], Loaders]
"""Builds the loaders of both splits, which decodes the images; called if no features are cached."""


def evaluate(config: Layer) -> dict[str, Any]:
    """Evaluate ``eval.weights``: a checkpoint, a name of the model zoo, or a torchreid checkpoint
    together with ``model.name``.

    Model, preprocessing and data set default to those of the weights' card. Another ``model.name``
    than the card's is an error.

    Args:
        config: some or all settings.

    Returns:
        the content of ``metrics.json``. If ``output_dir`` is given, it is written there with
        ``cmc.png``; ``eval.ranks`` adds ``ranks.png`` and ``ranks.csv``, ``eval.report`` adds
        ``report.html``.

    Raises:
        InputError: invalid setting, path or file.
    """
    given = as_layer(EvaluateRun, config)
    weights = read_trained(required_weights(given), given)
    with (
        distributed.process_group(choose_device(weights.config.device)) as device,
        evaluation_output(given, weights.config, ("ranks", "report")) as folder,
    ):
        return run_evaluation(weights, folder, device)


def run_evaluation(
    weights: TrainedWeights, folder: OutputFolder | None, device: torch.device
) -> dict[str, Any]:
    """Evaluate on a device; return the content of ``metrics.json``.

    Args:
        folder: receives the results; None writes none.
    """
    config, card = weights.config, weights.card
    if config.eval.worth and not config.eval.report:
        raise InputError(
            "eval.worth is a section of the report: pass --report, or use reid-dcs channels worth"
        )
    dataset = load_test_data(config)
    if config.eval.open_set:  # before any image is decoded
        check_open_set(_labels(dataset), config.eval.open_set)
    if folder:
        check_outside_data(folder.path, config.data, dataset)
    model = load_trained(weights, device)
    if config.eval.worth:
        check_attention(weights, model)
    output = folder.open(_files(config, folder.path)) if folder else None
    precision = Precision(config.eval.precision, device)
    announce(config, dataset, model, precision)

    @cache
    def loaders() -> Loaders:
        return build_evaluation_loaders(config, dataset, device, card.preprocessing)

    if not output and weights.path.is_relative_to(PACKAGE):
        config.eval.keep_features = False  # not among the files of this package
    features = query_and_gallery(weights, dataset, model, loaders, output or weights.path.parent)
    ranked = rank_splits(config, features, device)
    result = ranked.ranking.summary()
    rows = worth_rows(config, model, loaders(), device, result) if config.eval.worth else None
    trained_on = card.trained_on or None
    protocol = describe_protocol(config.eval, trained_on)
    metrics = metrics_of(config, dataset, model, result) | protocol
    if config.eval.open_set:
        found = open_set(ranked.distances, ranked.labels, config.eval.open_set)
        metrics["open_set"] = found._asdict()
    if output and distributed.is_main():
        if settings_files(output):
            write_settings(output, config, precision)
        write_json(output / "metrics.json", metrics)
        draw_evaluation(config, dataset, *ranked, output)
        if config.eval.report:
            from reid_dcs.report import Evaluation, report_evaluation  # imports grad-cam

            history = weights.content.get("history", [])
            pixels = card.preprocessing
            evaluation = Evaluation(config, pixels, dataset, model, metrics, history, *ranked, rows)
            report_evaluation(evaluation, output)
    print("\n".join([*protocol_warnings(protocol, config.data.name), table(metrics)]))
    if config.eval.open_set:
        print(
            f"open set: rank-1 {found.rank1:.1%} at a false-accept rate of {found.far:.2%}, "
            f"distance {found.threshold:.4f}"
        )
    return metrics


def _labels(dataset: ListedDataset) -> Labels:
    """Identities and cameras of query and gallery."""
    (_, q_pids, q_camids, *_), (_, g_pids, g_camids, *_) = (
        zip(*getattr(dataset, split), strict=True) for split in SPLITS
    )
    return Labels(q_pids, g_pids, q_camids, g_camids)


def _files(config: EvaluateRun, output: Path) -> list[str]:
    """Names of the files that an evaluation writes."""
    names = ["metrics.json", "cmc.png", *settings_files(output)]
    if config.eval.ranks:
        names += ["ranks.png", "ranks.csv"]
    if config.eval.report:
        names.append("report.html")
    if config.eval.keep_features:
        files = [features_file(output, config.data.name, split) for split in SPLITS]
        # those of an evaluation without a folder, beside the weights, are in no list
        names += [file.name for file in files if read_features(file) is None]
    return names


def query_and_gallery(
    weights: TrainedWeights,
    dataset: ListedDataset,
    model: nn.Module,
    loaders: BuildLoaders,
    folder: Path,
) -> dict[str, Features]:
    """Features of both splits, from the cache in ``folder`` or extracted and then cached there.

    A cache is valid for the same file of weights, images, network, preprocessing and extraction.
    Identities and cameras are always the data set's.
    """
    config = weights.config
    dtype = feature_dtype(config, model)
    fingerprints = {split: _fingerprint(weights, dataset, split, dtype) for split in SPLITS}
    files = {split: features_file(folder, config.data.name, split) for split in SPLITS}
    cached = {
        split: _read_cached(dataset, split, files[split], fingerprints[split]) for split in SPLITS
    }
    found = {split: features for split, features in cached.items() if features is not None}
    if all(gathered(found.keys() == cached.keys())):
        print(f"features read from {folder / 'features-*'}: weights and images are unchanged")
        return found
    sources, features = loaders(), {}
    for split in SPLITS:
        features[split] = extract_split(config, model, sources[split], split)
        fingerprint = fingerprints[split]
        if fingerprint and is_main():
            names = [Path(item[0]).name for item in getattr(dataset, split)]
            _write_cached(files[split], features[split], names, fingerprint)
    return features


def draw_evaluation(
    config: EvaluateRun,
    dataset: ListedDataset,
    ranking: Ranking,
    distances: Rows,
    labels: Labels,
    output: Path,
) -> None:
    """Draw ``cmc.png``, and with ``eval.ranks`` also write ``ranks.png`` and ``ranks.csv``."""
    title = f"{config.model.name} on {config.data.name}"
    draw_cmc(ranking.summary(), title, output / "cmc.png")
    if not config.eval.ranks:
        return
    chosen = choose_queries(ranking.average_precision, config.eval.rank_queries, LISTS, config.seed)
    lists = [
        ranked_list(distances, labels, ranking, int(query), config.eval.ranks) for query in chosen
    ]
    queries, gallery = ([item[0] for item in getattr(dataset, split)] for split in SPLITS)
    draw_ranked_lists(lists, queries, gallery, output / "ranks.png")
    everything = (
        ranked_list(distances, labels, ranking, query, config.eval.ranks)
        for query in range(len(queries))
    )
    write_ranked_lists(everything, queries, gallery, output / "ranks.csv")


def _fingerprint(
    weights: TrainedWeights, dataset: ListedDataset, split: str, dtype: torch.dtype
) -> str | None:
    """Fingerprint of a split's features; None if they are not cached."""
    config, pixels = weights.config, weights.card.preprocessing
    if not config.eval.keep_features:
        return None
    paths = [item[0] for item in getattr(dataset, split)]
    try:
        return features_fingerprint(
            weights.path,
            images=fingerprint(
                paths, pixels.height, pixels.width, pixels.interpolation, pixels.center_crop
            ),
            mean=pixels.mean,
            std=pixels.std,
            model=[config.model.name, dict(config.model.options)],
            flip=config.eval.flip,
            dtype=str(dtype),
        )
    except OSError:  # an image is missing: decoding names it
        return None


def _read_cached(
    dataset: ListedDataset, split: str, file: Path, fingerprint: str | None
) -> Features | None:
    """Cached features, with the identities and cameras of the data set; None if not valid."""
    features = read_features(file, fingerprint) if fingerprint else None
    if features is None:
        return None
    _, pids, camids, *_ = zip(*getattr(dataset, split), strict=True)
    return Features(features.vectors, np.array(pids), np.array(camids))


def _write_cached(file: Path, features: Features, names: list[str], fingerprint: str) -> None:
    """Cache features; a file that cannot be written is only a warning."""
    try:
        write_features(file, features, names, fingerprint)
    except InputError as error:
        print(f"warning: features are not cached: {error}", file=sys.stderr)
