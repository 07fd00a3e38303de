"""Networks: backbone x attention x head. Importing the package registers them with torchreid."""

from reid_dcs.models.backbones.base import Backbone
from reid_dcs.models.classification import build_classifier
from reid_dcs.models.heads.classifier import ClassificationNetwork
from reid_dcs.models.heads.reid import ReIDNetwork
from reid_dcs.models.insertion import with_attention
from reid_dcs.models.registry import build_backbone, build_model, list_models, register_backbone

__all__ = [
    "Backbone",
    "ClassificationNetwork",
    "ReIDNetwork",
    "build_backbone",
    "build_classifier",
    "build_model",
    "list_models",
    "register_backbone",
    "with_attention",
]
