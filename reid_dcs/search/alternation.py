"""Algorithm 1: weights and windows updated in turn, on the batches of each epoch."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from reid_dcs.config import ChannelSearchConfig, OptimizerConfig
from reid_dcs.engine.policy import Policy
from reid_dcs.engine.schedule import Optimization, build_optimizer, build_schedule
from reid_dcs.engine.task import Losses
from reid_dcs.errors import InputError
from reid_dcs.search.parameters import (
    fix_windows,
    learned_masks,
    learned_windows,
    search_parameters,
    set_temperature,
)
from reid_dcs.search.share import ShareMeter
from reid_dcs.search.softness import soften

FIXED = {"starts": "length", "lengths": "start"}
"""Turns of ``search.window_steps="separate"``, and the part of the windows that each leaves."""


class Alternation(Policy):
    """A trainer's policy: weights on the first 1 - p of an epoch's batches, windows on the others.

    Each group of parameters has its own optimizer. A step updates the parameters whose turn it is
    and nothing else: not the others, nor their momentum. Batch norms stay in training mode in both
    turns, so that their running statistics follow the network.

    ``search.window_steps="separate"`` gives the starts and the lengths of windows an optimizer
    each, and a batch two turns: the starts step by its loss, then the lengths by a fresh one.

    Args:
        model: network with modules that declare ``search_parameters()``.
        search: optimizers, p and temperatures.
        batches: number of batches of an epoch.
        penalty: added to the minimized loss in the windows' turn, such as a cost.
        control: accept a model that has nothing to search. Its weights step on the same batches
            as those of a model that has, and nothing steps on the others.
        accumulate: batches of a step; p is then a share of the steps.

    Attributes:
        optimizers: ``weights``, ``windows`` (or ``starts`` and ``lengths``) and ``logits``, as far
            as the model has such parameters, for the trainer.

    Raises:
        InputError: the model has nothing to search, or an epoch has too few batches for two turns.
    """

    def __init__(
        self,
        model: nn.Module,
        search: ChannelSearchConfig,
        batches: int,
        penalty: Callable[[], Tensor] | None = None,
        *,
        control: bool = False,
        accumulate: int = 1,
    ) -> None:
        steps = -(-batches // accumulate)  # rounded up
        window_steps = max(1, round(search.window_share * steps))
        weight_steps = steps - window_steps
        if weight_steps < 1:
            raise InputError(
                f"search.window_share={search.window_share} leaves none of {steps} step(s) an "
                "epoch for the weights: lower it, data.batch_size or train.accumulate"
            )
        self.weight_batches = weight_steps * accumulate
        weights, windows, logits = search_parameters(model)
        if not windows and not logits and not control:
            raise InputError("nothing to search: the network has no attention that learns windows")
        if search.target_share and not windows and not control:
            raise InputError("search.target_share: the network has no learned windows; set it to 0")
        _check_windows(model, search, control)
        self.model, self.search, self.penalty = model, search, penalty
        self.batches = batches
        self.meter = ShareMeter(model) if search.target_share and windows else None
        self.optimizers = {
            "weights": self._optimization(search.weight_optimizer, weights, weight_steps)
        }
        for name in self._window_groups() if windows else ():
            self.optimizers[name] = self._optimization(
                search.window_optimizer, self._window_parameters(windows), window_steps
            )
        if logits:
            self.optimizers["logits"] = self._optimization(
                search.logit_optimizer, logits, window_steps
            )

    def _window_groups(self) -> Sequence[str]:
        """Names of the optimizers of windows; each holds all parameters of the windows."""
        parts = {part for block in learned_windows(self.model).values() for part in block.learns}
        if self.search.window_steps == "joint" or len(parts) < 2:
            return ["windows"]
        if self.search.window_optimizer.weight_decay:
            raise InputError(
                "search.window_steps=separate: a step on the starts would decay the lengths too; "
                "set search.window_optimizer.weight_decay=0"
            )
        return list(FIXED)

    def _window_parameters(self, windows: list[Parameter]) -> list[Any]:
        """Parameters of the windows, or groups by block with rates relative to its channels.

        With u = s / C, a step r of Adam in u is r C channels; one of SGD, r dL/du = r C dL/ds in u,
        is r C^2 dL/ds channels.
        """
        if self.search.window_unit == "channel":
            return windows
        recipe = self.search.window_optimizer
        power = 2 if recipe.optimizer == "sgd" else 1
        groups: list[Any] = [
            {
                "params": block.search_parameters()["windows"],
                "lr": recipe.learning_rate * block.channels**power,
            }
            for block in learned_windows(self.model).values()
        ]
        in_channels = {parameter for group in groups for parameter in group["params"]}
        masks = [parameter for parameter in windows if parameter not in in_channels]
        return [*groups, {"params": masks}] if masks else groups

    def _optimization(
        self, recipe: OptimizerConfig, parameters: list[Any], steps: int
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

    def turns(self, batch: int, optimizers: Sequence[str]) -> Sequence[Sequence[str]]:
        """``weights`` on the first batches, all others on the last ones."""
        if batch < self.weight_batches:
            return [("weights",)]
        searched = [name for name in optimizers if name != "weights"]
        if "lengths" not in searched:
            return [searched]
        return [[name for name in searched if name != "lengths"], ["lengths"]]

    def begin_turn(self, turn: Sequence[str]) -> None:
        """Let only the starts or only the lengths of windows learn, where they take turns."""
        if "lengths" in self.optimizers:
            fix_windows(self.model, FIXED.get(turn[0]))

    def end_turn(self) -> None:
        """Let all windows learn again: so the search leaves its network."""
        if "lengths" in self.optimizers:
            fix_windows(self.model, None)

    def losses(self, losses: Losses, turn: Sequence[str]) -> Losses:
        """Report penalties as losses, and in the windows' turn add them to the minimized one."""
        penalties = {}
        if self.penalty is not None:
            penalties["penalty"] = self.penalty()
        if self.meter is not None:
            per_block = self.search.share_scope == "block"
            distance = self.meter.penalty(self.search.target_share, per_block)
            penalties["share_penalty"] = self.search.share_weight * distance
        if penalties and "weights" not in turn:
            minimized = next(iter(losses))
            losses = losses | {minimized: losses[minimized] + sum(penalties.values())}
        return losses | penalties


def _check_windows(model: nn.Module, search: ChannelSearchConfig, control: bool) -> None:
    """Refuse settings of learned windows for a network that has none, but a control.

    Raises:
        InputError: a setting that would be ignored, or rates in channels for windows in logits.
    """
    windows, masks = learned_windows(model), bool(learned_masks(model))
    if search.window_unit == "block" and any(b.bounds == "sigmoid" for b in windows.values()):
        raise InputError(
            "search.window_unit=block: with model.options.bounds=sigmoid, windows move in logits, "
            "whose rate does not depend on the channels; set it to channel"
        )
    if windows or (control and not masks):
        return
    network = "dcs_mask has no windows" if masks else "the network has no learned windows"
    of_windows = {
        "window_softness": (bool(search.window_softness), 0),
        "window_unit": (search.window_unit == "block", "channel"),
        "window_steps": (search.window_steps == "separate", "joint"),
    }
    for name, (given, neutral) in of_windows.items():
        if given:
            raise InputError(
                f"search.{name}: {network}, which the setting is about; set it to {neutral}"
            )
