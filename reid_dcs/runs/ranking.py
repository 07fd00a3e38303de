"""Features and ranking of a data set's query and gallery, as the ``eval`` settings say."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from reid_dcs.config import EvaluateRun
from reid_dcs.evaluation import (
    Features,
    KReciprocal,
    Ranked,
    SingleShot,
    extract_features,
    rank_features,
)
from reid_dcs.runtime.precision import Precision

SPLITS = ("query", "gallery")

Loaders = Mapping[str, Iterable[dict]]
"""The loaders of both splits."""


def feature_dtype(config: EvaluateRun, model: nn.Module) -> torch.dtype:
    """Compute dtype of ``eval.precision`` on the device of the model."""
    return Precision(config.eval.precision, next(model.parameters()).device).dtype


def extract_split(
    config: EvaluateRun, model: nn.Module, loader: Iterable[dict], split: str
) -> Features:
    """Compute the features of a split."""
    dtype = feature_dtype(config, model)
    return extract_features(model, loader, split, flip=config.eval.flip, dtype=dtype)


def rank_splits(
    config: EvaluateRun, features: Mapping[str, Features], device: torch.device
) -> Ranked:
    """Rank the gallery for each query."""
    options = config.eval
    rerank = KReciprocal(options.k1, options.k2, options.rerank_weight) if options.rerank else None
    return rank_features(
        features["query"],
        features["gallery"],
        options.metric,
        rule=options.average_precision,
        rerank=rerank,
        single_shot=SingleShot(seed=config.seed) if options.single_shot else None,
        device=device,
    )
