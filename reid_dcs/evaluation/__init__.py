"""Honest evaluation: features, ranks, mAP."""

from reid_dcs.evaluation.features import Features, extract_features
from reid_dcs.evaluation.rank import RankResult, evaluate_features, evaluate_rank

__all__ = ["Features", "RankResult", "evaluate_features", "evaluate_rank", "extract_features"]
