"""Re-ID engines from the settings of a run: criterion, optimizers, schedules."""

from typing import Any

from torch import nn

from reid_dcs.config import SearchRun, TrainRun, to_layer
from reid_dcs.data.manager import InMemoryDataManager
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.errors import InputError
from reid_dcs.jobs.trainer import build_optimization, policy_options, trainer_options
from reid_dcs.losses import IdentityTripletLoss, InformationBottleneckLoss
from reid_dcs.runs.network import build_card
from reid_dcs.runtime.capture import training_network
from reid_dcs.runtime.device import compiled
from reid_dcs.runtime.hooks import weight_of
from reid_dcs.runtime.precision import Precision
from reid_dcs.search.engine import SearchEngine


def build_engine(config: TrainRun, model: nn.Module, manager: InMemoryDataManager) -> ReIDEngine:
    """Build the engine of ``config.train``, with its optimizer and schedule."""
    recipe = config.train
    batches = manager.train_loader.epoch_lengths(recipe.epochs)
    return ReIDEngine(
        manager,
        model,
        *build_optimization(model, recipe, batches),
        build_criterion(config),
        **engine_options(config, model, manager),
        compiled=training_network(model, recipe),
        ema=recipe.ema,
        frozen_epochs=recipe.frozen_epochs,
    )


def build_search_engine(
    config: SearchRun, model: nn.Module, manager: InMemoryDataManager
) -> SearchEngine:
    """Build the engine of ``config.search``."""
    return SearchEngine(
        manager,
        model,
        build_criterion(config),
        config.search,
        compiled=compiled(model, config.train.compile),
        **policy_options(config, model, (3, config.data.height, config.data.width)),
        **engine_options(config, model, manager),
    )


def build_criterion(config: TrainRun) -> nn.Module:
    """Build the training criterion of ``config.train``.

    Raises:
        InputError: the information bottleneck term with mixup.
    """
    recipe = config.train
    margin = None if recipe.soft_margin else recipe.margin
    criterion = IdentityTripletLoss(recipe.label_smoothing, margin, recipe.triplet_weight)
    if not recipe.ib_weight:
        return criterion
    if config.data.mixup:
        raise InputError(
            "train.ib_weight: its centers are means over images of one identity, which mixup "
            "blends; set data.mixup=0"
        )
    return InformationBottleneckLoss(criterion, recipe.ib_weight)


def engine_options(
    config: TrainRun, model: nn.Module, manager: InMemoryDataManager
) -> dict[str, Any]:
    """Keyword arguments that the engines of training and search share."""
    precision = Precision(config.train.precision, weight_of(model).device)
    description = {
        **build_card(config, manager.num_train_pids).to_dict(),
        "config": to_layer(config),
        "data": dict(manager.fingerprints),
    }
    return {
        "metric": config.eval.metric,
        **trainer_options(precision, config.train, description),
    }
