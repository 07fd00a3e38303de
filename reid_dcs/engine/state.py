"""The state of a training run, from which another process continues bit for bit."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reid_dcs.engine.progress import Done
from reid_dcs.runtime import distributed
from reid_dcs.runtime.randomness import random_state, set_random_state

if TYPE_CHECKING:
    from reid_dcs.engine.trainer import Trainer


def state_of(trainer: "Trainer") -> dict[str, Any]:
    """State of a run in plain types and tensors; all processes must call it together.

    ``state_dict`` holds the evaluated network. If that is a moving average, ``raw_state_dict``
    holds the trained network.
    """
    optimizers = trainer.optimizers
    state: dict[str, Any] = {
        "state_dict": trainer.evaluated_model.state_dict(),
        "optimizer": {name: optimizer.state_dict() for name, (optimizer, _) in optimizers.items()},
        "scheduler": {name: scheduler.state_dict() for name, (_, scheduler) in optimizers.items()},
        "scaler": trainer.precision.scaler.state_dict(),
        "rng": distributed.gathered(random_state(trainer.device)),
        "epoch": trainer.finished,
        "batch": trainer.so_far.batches,
        "sums": trainer.so_far.sums,
        "seconds": trainer.so_far.seconds,
        "images": trainer.so_far.images,
        "history": trainer.history,
        "best": trainer.best,
        "evaluated": trainer.evaluated,
    }
    if trainer.average is not None:
        state["raw_state_dict"] = trainer.model.state_dict()
        state["averaged"] = trainer.average.updates
    return state


def continue_from(trainer: "Trainer", state: Mapping[str, Any]) -> None:
    """Bring a trainer of the same network and optimizers to a state of :func:`state_of`."""
    trainer.model.load_state_dict(state.get("raw_state_dict", state["state_dict"]))
    if trainer.average is not None:
        trainer.average.module.load_state_dict(state["state_dict"])
        trainer.average.updates = state["averaged"]
    for name, (optimizer, scheduler) in trainer.optimizers.items():
        optimizer.load_state_dict(state["optimizer"][name])
        scheduler.load_state_dict(state["scheduler"][name])
    trainer.precision.scaler.load_state_dict(state["scaler"])
    set_random_state(state["rng"][distributed.rank()], trainer.device)
    # files of earlier versions have no seconds and images
    spent = state.get("seconds", 0.0), state.get("images", 0)
    trainer.so_far = Done(state["batch"], dict(state["sums"]), *spent)
    trainer.finished, trainer.best = state["epoch"], dict(state["best"])
    trainer.history = [dict(entry) for entry in state["history"]]
    trainer.evaluated = state.get("evaluated", trainer.finished)  # nor, still earlier, evaluated
