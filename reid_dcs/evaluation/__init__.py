"""Evaluation: feature extraction, CMC, mAP and mINP, re-ranking, ranked lists."""

from reid_dcs.evaluation.cameras import CameraPair, camera_pairs
from reid_dcs.evaluation.distances import FeatureDistances
from reid_dcs.evaluation.evaluate import (
    Ranked,
    evaluate_features,
    evaluate_rank,
    rank_features,
    rank_gallery,
)
from reid_dcs.evaluation.features import Features, embed, extract_features
from reid_dcs.evaluation.matches import Labels
from reid_dcs.evaluation.metrics import Ranking, RankResult
from reid_dcs.evaluation.open_set import OpenSet, check_open_set, open_set
from reid_dcs.evaluation.ranked_lists import (
    RankedList,
    choose_queries,
    ranked_list,
    write_ranked_lists,
)
from reid_dcs.evaluation.rerank import KReciprocal, ReRankedDistances
from reid_dcs.evaluation.single_shot import SingleShot
from reid_dcs.evaluation.verification import Verification, verification

__all__ = [
    "CameraPair",
    "FeatureDistances",
    "Features",
    "KReciprocal",
    "Labels",
    "OpenSet",
    "RankResult",
    "Ranked",
    "RankedList",
    "Ranking",
    "ReRankedDistances",
    "SingleShot",
    "Verification",
    "camera_pairs",
    "check_open_set",
    "choose_queries",
    "embed",
    "evaluate_features",
    "evaluate_rank",
    "extract_features",
    "open_set",
    "rank_features",
    "rank_gallery",
    "ranked_list",
    "verification",
    "write_ranked_lists",
]
