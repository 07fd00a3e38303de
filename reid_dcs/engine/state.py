"""The state of a training run, from which another process continues bit for bit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from reid_dcs.engine.average import MovingAverage
from reid_dcs.engine.progress import Done
from reid_dcs.engine.schedule import Optimization
from reid_dcs.runtime import distributed
from reid_dcs.runtime.precision import Precision
from reid_dcs.runtime.randomness import random_state, set_random_state


class RunState:
    """What changes while a network is trained; a checkpoint holds it.

    Args:
        model: the network that is trained.
        optimizers: optimizer and learning rate scheduler by name.
        precision: of the forward pass, with the scaler of the losses.
        average: moving average of the network, which is evaluated in its place.
    """

    device: torch.device

    def __init__(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimization],
        precision: Precision,
        average: MovingAverage | None,
    ) -> None:
        self.model, self.optimizers = model, dict(optimizers)
        self.precision, self.average = precision, average
        self.finished = 0  # number of finished epochs
        self.so_far = Done()  # of an interrupted epoch
        self.history: list[dict[str, float]] = []  # one entry per epoch
        self.evaluated = 0  # number of finished epochs at the last evaluation
        self.best: dict[str, float] = {}  # epoch and metrics of the best evaluation

    @property
    def evaluated_model(self) -> nn.Module:
        """The moving average of the network if there is one, else the network."""
        return self.model if self.average is None else self.average.module

    def state_dict(self) -> dict[str, Any]:
        """State of the run in plain types and tensors; all processes must call it together.

        ``state_dict`` holds the evaluated network. If that is a moving average,
        ``raw_state_dict`` holds the trained network.
        """
        state: dict[str, Any] = {
            "state_dict": self.evaluated_model.state_dict(),
            "optimizer": {name: opt.state_dict() for name, (opt, _) in self.optimizers.items()},
            "scheduler": {name: lrs.state_dict() for name, (_, lrs) in self.optimizers.items()},
            "scaler": self.precision.scaler.state_dict(),
            "rng": distributed.gathered(random_state(self.device)),
            "epoch": self.finished,
            "batch": self.so_far.batches,
            "sums": self.so_far.sums,
            "seconds": self.so_far.seconds,
            "images": self.so_far.images,
            "history": self.history,
            "best": self.best,
            "evaluated": self.evaluated,
        }
        if self.average is not None:
            state["raw_state_dict"] = self.model.state_dict()
            state["averaged"] = self.average.updates
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        self.model.load_state_dict(state.get("raw_state_dict", state["state_dict"]))
        if self.average is not None:
            self.average.module.load_state_dict(state["state_dict"])
            self.average.updates = state["averaged"]
        for name, (optimizer, scheduler) in self.optimizers.items():
            optimizer.load_state_dict(state["optimizer"][name])
            scheduler.load_state_dict(state["scheduler"][name])
        if state["scaler"]:  # empty where the run was not in float16
            self.precision.scaler.load_state_dict(state["scaler"])
        set_random_state(state["rng"][distributed.rank()], self.device)
        # files of earlier versions have no seconds and images
        spent = state.get("seconds", 0.0), state.get("images", 0)
        self.so_far = Done(state["batch"], dict(state["sums"]), *spent)
        self.finished, self.best = state["epoch"], dict(state["best"])
        self.history = [dict(entry) for entry in state["history"]]
        self.evaluated = state.get("evaluated", self.finished)  # not in files of earlier versions
