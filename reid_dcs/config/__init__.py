"""Typed settings: a class for each command, read from files, flags and Python."""

from reid_dcs.config.checks import checked_path
from reid_dcs.config.layers import Layer, as_layer, compose, merge_layers, to_layer, upgraded
from reid_dcs.config.settings import (
    SETTINGS,
    ChannelSearchConfig,
    EvaluateRun,
    OptimizerConfig,
    PrepareData,
    RecipeConfig,
    Run,
    SearchConfig,
    SearchRun,
    TaskRun,
    TrainConfig,
    TrainRun,
    WorthRun,
)
from reid_dcs.config.text import parse_overrides, read_config, to_yaml
from reid_dcs.config.types import has_setting

__all__ = [
    "SETTINGS",
    "ChannelSearchConfig",
    "EvaluateRun",
    "Layer",
    "OptimizerConfig",
    "PrepareData",
    "RecipeConfig",
    "Run",
    "SearchConfig",
    "SearchRun",
    "TaskRun",
    "TrainConfig",
    "TrainRun",
    "WorthRun",
    "as_layer",
    "checked_path",
    "compose",
    "has_setting",
    "merge_layers",
    "parse_overrides",
    "read_config",
    "to_layer",
    "to_yaml",
    "upgraded",
]
