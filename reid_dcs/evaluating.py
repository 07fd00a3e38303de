"""An evaluation run: features kept or extracted, the gallery ranked, and what is written of it."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dcs.config import Config
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.mapped import fingerprint
from reid_dcs.distributed import gathered, is_main
from reid_dcs.engine.precision import Precision
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
from reid_dcs.evaluation.kept import (
    features_file,
    features_fingerprint,
    keep_features,
    read_features,
)
from reid_dcs.visual.cmc import draw_cmc
from reid_dcs.visual.ranking import draw_ranked_lists

SPLITS = ("query", "gallery")
LISTS = 8  # ranked lists in a picture

Loaders = Callable[[], Mapping[str, Iterable[dict]]]
"""Makes the loaders of both splits, which decodes images: called where no features are kept."""


def query_and_gallery(
    config: Config, dataset: ListedDataset, model: nn.Module, loaders: Loaders, folder: Path
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
    config: Config, query: Features, gallery: Features, device: torch.device
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


def said_of(config: Config, trained_on: str | None) -> dict[str, Any]:
    """How it was measured, for ``metrics.json``."""
    options = config.eval
    rerank = {"k1": options.k1, "k2": options.k2, "weight": options.rerank_weight}
    return {
        "weights": options.weights,
        "trained_on": trained_on,
        "flip": options.flip,
        "precision": options.precision,
        "average_precision": options.average_precision,
        "single_shot": options.single_shot,
        "rerank": rerank if options.rerank else None,
    }


def departures(said: Mapping[str, Any], dataset: str) -> list[str]:
    """What sets the result apart from single query on one data set: a line each, to be printed."""
    lines = []
    if said["trained_on"] not in (None, dataset):
        lines.append(f"cross-domain: trained on {said['trained_on']}, evaluated on {dataset}")
    if said["rerank"]:
        lines.append("with k-reciprocal re-ranking: not comparable with results without")
    if said["single_shot"]:
        lines.append("CMC by CUHK03's classic protocol: one gallery image a person, drawn 10 times")
    if said["average_precision"] == "trapezoid":
        lines.append("average precision by Market-1501's trapezoid: above the field's rectangle")
    return lines


def draw_evaluation(
    config: Config,
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
    config: Config, dataset: ListedDataset, split: str, dtype: torch.dtype
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
