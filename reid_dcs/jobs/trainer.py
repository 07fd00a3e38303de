"""Parts of a trainer from the settings of ``train`` and ``search``, for any task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from reid_dcs.config import RecipeConfig, SearchConfig
from reid_dcs.engine import Optimization, build_optimizer, build_schedule
from reid_dcs.errors import InputError
from reid_dcs.runtime.precision import Precision
from reid_dcs.search import Alternation, Supergraph, expected_macs, target_penalty


def build_optimization(
    network: nn.Module,
    recipe: RecipeConfig,
    batches: Sequence[int],
    groups: Sequence[dict[str, Any]] | None = None,
) -> Optimization:
    """Optimizer and schedule of a training.

    Args:
        network: its parameters that require a gradient are trained.
        recipe: settings of ``train``.
        batches: number of batches of each epoch.
        groups: torch's parameter groups of the network; by default one.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(groups or trained, recipe)
    steps = [-(-number // recipe.accumulate) for number in batches]  # rounded up
    return optimizer, build_schedule(optimizer, recipe, recipe.epochs, steps)


def trainer_options(
    precision: Precision, recipe: RecipeConfig, description: Mapping[str, Any]
) -> dict[str, Any]:
    """Keyword arguments that the trainers of a training and of a search share.

    Args:
        precision: of the training.
        recipe: settings of ``train``.
        description: see :class:`reid_dcs.engine.Trainer`: the card, the settings, the data.
    """
    return {
        "precision": precision,
        "accumulate": recipe.accumulate,
        "clip_norm": recipe.clip_norm,
        "description": dict(description),
    }


def build_policy(
    config: Any, network: nn.Module, batches: int, input_size: Sequence[int]
) -> Alternation:
    """Algorithm 1 from the settings of ``search``; its ``optimizers`` are the trainer's.

    Args:
        config: settings of a search.
        network: on its device.
        batches: number of batches of an epoch.
        input_size: (channels, height, width), for the cost of a backbone search.

    Raises:
        InputError: settings that do not fit the network or each other.
    """
    return Alternation(
        network,
        config.search,
        batches,
        accumulate=config.train.accumulate,
        **policy_options(config, network, input_size),
    )


def policy_options(config: Any, network: nn.Module, input_size: Sequence[int]) -> dict[str, Any]:
    """Keyword arguments of :class:`Alternation`; see :func:`build_policy`."""
    if config.search.window_steps == "separate" and config.train.accumulate > 1:
        raise InputError(
            "search.window_steps=separate: starts and lengths step on every batch; set "
            "train.accumulate=1"
        )
    penalty = None
    if isinstance(config.search, SearchConfig) and config.search.target_gmacs:
        penalty = _cost_penalty(config, network, input_size)
    return {"penalty": penalty, "control": is_warm(config)}


def is_warm(config: Any) -> bool:
    """Whether the training after a search is asked to start from the search's weights."""
    return config.search.retrain.startswith("warm")


def _cost_penalty(
    config: Any, network: nn.Module, input_size: Sequence[int]
) -> Callable[[], Tensor]:
    search = config.search
    if not isinstance(network, Supergraph):
        raise InputError(
            f"search.target_gmacs: the cost of {config.model.name} is fixed; search a backbone "
            "such as fbnetv2_dcs, or set it to 0"
        )

    def penalty() -> Tensor:
        # at low temperatures the expected cost approaches that of the derived network
        expected = expected_macs(network, input_size, network.temperature)
        return search.cost_weight * target_penalty(expected, search.target_gmacs).float()

    return penalty
