"""Algorithm 1: weights and windows updated in turn, on the batches of each epoch."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import Parameter

from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.engine.policy import Policy
from reid_dcs.engine.schedule import Optimization, build_optimizer, build_schedule
from reid_dcs.engine.task import Losses
from reid_dcs.errors import InputError
from reid_dcs.search.parameters import search_parameters, set_temperature
from reid_dcs.search.share import ShareMeter
from reid_dcs.search.softness import soften


class Alternation(Policy):
    """A trainer's policy: weights on the first 1 - p of an epoch's batches, windows on the others.

    Each group of parameters has its own optimizer. A step updates the parameters whose turn it is
    and nothing else: not the others, nor their momentum. Batch norms stay in training mode in both
    turns, so that their running statistics follow the network.

    Args:
        model: network with modules that declare ``search_parameters()``.
        search: optimizers, p and temperatures.
        batches: number of batches of an epoch.
        penalty: added to the minimized loss in the windows' turn, such as a cost.

    Attributes:
        optimizers: ``weights``, ``windows`` and ``logits``, as far as the model has such
            parameters, for the trainer.

    Raises:
        InputError: the model has nothing to search, or an epoch has too few batches for two turns.
    """

    def __init__(
        self,
        model: nn.Module,
        search: SearchConfig,
        batches: int,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        window_batches = max(1, round(search.window_share * batches))
        self.weight_batches = batches - window_batches
        if self.weight_batches < 1:
            raise InputError(
                f"search.window_share={search.window_share} leaves none of {batches} batch(es) an "
                "epoch for the weights: lower it, or data.batch_size"
            )
        weights, windows, logits = search_parameters(model)
        if not windows and not logits:
            raise InputError("nothing to search: the network has no attention that learns windows")
        if search.target_share and not windows:
            raise InputError("search.target_share: the network has no learned windows; set it to 0")
        self.model, self.search, self.penalty = model, search, penalty
        self.batches = batches
        self.meter = ShareMeter(model) if search.target_share else None
        self.optimizers = {
            "weights": self._optimization(search.weight_optimizer, weights, self.weight_batches)
        }
        if windows:
            self.optimizers["windows"] = self._optimization(
                search.window_optimizer, windows, window_batches
            )
        if logits:
            self.optimizers["logits"] = self._optimization(
                search.logit_optimizer, logits, window_batches
            )

    def _optimization(
        self, recipe: OptimizerConfig, parameters: list[Parameter], steps: int
    ) -> Optimization:
        optimizer = build_optimizer(parameters, recipe)
        return optimizer, build_schedule(optimizer, recipe, self.search.epochs, steps)

    def begin_epoch(self, epoch: int) -> None:
        """Set the temperature of all Gumbel softmaxes."""
        set_temperature(self.model, self.temperature(epoch))

    def begin_batch(self, epoch: int, batch: int) -> None:
        """Anneal soft window edges; the last batch of the search already has hard ones."""
        if self.search.window_softness:
            done = (epoch * self.batches + batch + 1) / (self.search.epochs * self.batches)
            soften(self.model, done, self.search.window_softness)

    def temperature(self, epoch: int) -> float:
        """Temperature of an epoch: exponential decay down to a floor."""
        search = self.search
        return max(search.temperature_floor, search.temperature * search.temperature_decay**epoch)

    def turn(self, batch: int, optimizers: Sequence[str]) -> Sequence[str]:
        """``weights`` on the first batches, all others on the last ones."""
        if batch < self.weight_batches:
            return ("weights",)
        return [name for name in optimizers if name != "weights"]

    def losses(self, losses: Losses, turn: Sequence[str]) -> Losses:
        """Report penalties as losses, and in the windows' turn add them to the minimized one."""
        penalties = {}
        if self.penalty is not None:
            penalties["penalty"] = self.penalty()
        if self.meter is not None:
            per_block = self.search.share_scope == "block"
            penalties["share_penalty"] = self.meter.penalty(self.search.target_share, per_block)
        if penalties and "weights" not in turn:
            minimized = next(iter(losses))
            losses = losses | {minimized: losses[minimized] + sum(penalties.values())}
        return losses | penalties
