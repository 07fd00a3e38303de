"""Algorithm 1: weights and windows updated in turn, by batches of one epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchreid import data as torchreid_data

from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.engine import ReIDEngine, build_optimizer, build_schedule
from reid_dcs.engine.reid import Named
from reid_dcs.errors import InputError
from reid_dcs.search.parameters import search_parameters


class SearchEngine(ReIDEngine):
    """Trains the weights on the first 1 - p of an epoch's batches, the windows on the others.

    The batches are whole, so that each has its P identities x K images. A step moves the parameters
    whose turn it is, by the optimizer of their own, and nothing else: not the others, not their
    momentum. Batch norms are in training mode in both turns, so that their running statistics
    follow the network that there is; they are the one thing that moves in both.

    Args:
        datamanager, model, criterion, options: see :class:`ReIDEngine`.
        search: optimizers, p, temperatures.
        penalty: added to the loss where windows are stepped, such as a cost.

    Raises:
        InputError: nothing to search, or too few batches for two turns.
    """

    def __init__(
        self,
        datamanager: torchreid_data.datamanager.DataManager,
        model: nn.Module,
        criterion: nn.Module,
        search: SearchConfig,
        *,
        penalty: Callable[[], Tensor] | None = None,
        **options: Any,
    ) -> None:
        batches = len(datamanager.train_loader)
        searching = max(1, round(search.window_share * batches))
        self.weight_batches = batches - searching
        if self.weight_batches < 1:
            raise InputError(
                f"search.window_share={search.window_share} leaves none of {batches} batch(es) an "
                "epoch for the weights: lower it, or data.batch_size"
            )
        weights, windows, logits = search_parameters(model)
        if not windows and not logits:
            raise InputError("nothing to search: the network has no attention that learns windows")
        self.search, self.penalty = search, penalty

        def optimized(
            parameters: list, recipe: OptimizerConfig, steps: int
        ) -> tuple[Optimizer, LRScheduler]:
            optimizer = build_optimizer(parameters, recipe)
            return optimizer, build_schedule(optimizer, recipe, search.epochs, steps)

        of_weights = optimized(weights, search.weight_optimizer, self.weight_batches)
        super().__init__(datamanager, model, *of_weights, criterion, **options)
        if windows:
            self.optimizers["windows"] = optimized(windows, search.window_optimizer, searching)
        if logits:
            self.optimizers["logits"] = optimized(logits, search.logit_optimizer, searching)

    @property
    def turn(self) -> Sequence[str]:
        """``weights`` at first, then all others."""
        if self.batch_idx < self.weight_batches:
            return ("weights",)
        return [name for name in self.optimizers if name != "weights"]

    def train(self) -> dict[str, float]:
        """One epoch, at its temperature."""
        temperature = self.temperature(self.epoch)
        for module in self.model.modules():
            if hasattr(module, "temperature"):
                module.temperature = temperature
        return super().train()

    def temperature(self, epoch: int) -> float:
        """Of the Gumbel softmaxes: falls exponentially to a floor."""
        own = self.search
        return max(own.temperature_floor, own.temperature * own.temperature_decay**epoch)

    def losses(self, data: Mapping[str, Any]) -> Named:
        """The criterion's, and in the windows' turn the penalty."""
        named = super().losses(data)
        if self.penalty is None:
            return named
        penalty = self.penalty()
        if "weights" not in self.turn:
            named["total"] = named["total"] + penalty
        return named | {"penalty": penalty}
