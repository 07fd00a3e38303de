"""Networks: backbone x attention x head. Importing a backbone's file registers its models."""

from reid_dcs.models import backbones  # noqa: F401  (registers the models)
from reid_dcs.models.heads.reid import ReIDNetwork
from reid_dcs.models.insertion import with_attention
from reid_dcs.models.registry import build_model, list_models, register_backbone

__all__ = ["ReIDNetwork", "build_model", "list_models", "register_backbone", "with_attention"]
