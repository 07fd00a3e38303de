"""How an evaluation was made, and what sets it apart from the single-query protocol."""

from collections.abc import Mapping
from typing import Any

from reid_dcs.config import EvaluateRun


def describe_protocol(config: EvaluateRun, trained_on: str | None) -> dict[str, Any]:
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


def protocol_warnings(said: Mapping[str, Any], dataset: str) -> list[str]:
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
