"""Honest evaluation: features, ranks, mAP."""

from reid_dcs.evaluation.distances import FeatureDistances
from reid_dcs.evaluation.features import Features, extract_features
from reid_dcs.evaluation.rank import evaluate_features, evaluate_rank, rank_gallery
from reid_dcs.evaluation.ranking import Ranking, RankResult
from reid_dcs.evaluation.relatives import Labels
from reid_dcs.evaluation.single_shot import SingleShot

__all__ = [
    "FeatureDistances",
    "Features",
    "Labels",
    "RankResult",
    "Ranking",
    "SingleShot",
    "evaluate_features",
    "evaluate_rank",
    "extract_features",
    "rank_gallery",
]
