"""Description of an evaluation protocol, and warnings where it is not the standard one.

The standard is single query, the whole gallery, no re-ranking, trained on the same data set.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from reid_dcs.evaluation.single_shot import SingleShot


class EvaluationSettings(Protocol):
    """The settings of an evaluation that decide its metrics, as in the ``eval`` configuration."""

    weights: str
    flip: bool
    single_shot: bool
    rerank: bool
    k1: int
    k2: int
    rerank_weight: float

    @property
    def precision(self) -> str: ...

    @property
    def average_precision(self) -> str: ...


def describe_protocol(settings: EvaluationSettings, trained_on: str | None) -> dict[str, Any]:
    """Entries of ``metrics.json`` that say how the metrics were measured.

    Args:
        settings: the ``eval`` settings.
        trained_on: name of the data set the weights were trained on; None if unknown.
    """
    rerank = {"k1": settings.k1, "k2": settings.k2, "weight": settings.rerank_weight}
    return {
        "weights": settings.weights,
        "trained_on": trained_on,
        "flip": settings.flip,
        "precision": settings.precision,
        "average_precision": settings.average_precision,
        "single_shot": settings.single_shot,
        "rerank": rerank if settings.rerank else None,
    }


def protocol_warnings(protocol: Mapping[str, Any], dataset: str) -> list[str]:
    """Differences from the standard protocol, one line each.

    Args:
        protocol: result of :func:`describe_protocol`, or a mapping that contains it.
        dataset: name of the data set that was evaluated.
    """
    warnings = []
    trained_on = protocol["trained_on"]
    if trained_on is not None and dataset not in trained_on.split("+"):
        warnings.append(f"cross-domain: trained on {trained_on}, evaluated on {dataset}")
    if protocol["rerank"]:
        warnings.append("k-reciprocal re-ranking: not comparable with results without re-ranking")
    if protocol["single_shot"]:
        warnings.append(
            "CMC by CUHK03's classic protocol: one random gallery image per identity, mean of "
            f"{SingleShot.draws} draws"
        )
    if protocol["average_precision"] == "trapezoid":
        warnings.append(
            "average precision by the trapezoid rule of Market-1501's MATLAB code: higher than "
            "by the usual rectangle rule"
        )
    return warnings
