"""Typed settings: a class for each command, read from files, flags and Python."""

from reid_dcs.config.layers import (
    Layer,
    as_layer,
    compose,
    merge_layers,
    parse_overrides,
    read_config,
    to_layer,
    to_yaml,
    upgraded,
)
from reid_dcs.config.settings import (
    SETTINGS,
    EvaluateRun,
    OptimizerConfig,
    PrepareData,
    Run,
    SearchConfig,
    SearchRun,
    TrainConfig,
    TrainRun,
    WorthRun,
)

__all__ = [
    "SETTINGS",
    "EvaluateRun",
    "Layer",
    "OptimizerConfig",
    "PrepareData",
    "Run",
    "SearchConfig",
    "SearchRun",
    "TrainConfig",
    "TrainRun",
    "WorthRun",
    "as_layer",
    "compose",
    "merge_layers",
    "parse_overrides",
    "read_config",
    "to_layer",
    "to_yaml",
    "upgraded",
]
