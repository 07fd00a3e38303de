"""The whole state of a run: out of an engine, and back into one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reid_dcs.runtime import distributed
from reid_dcs.runtime.randomness import random_state, set_random_state

if TYPE_CHECKING:
    from reid_dcs.engine.reid import ReIDEngine


def state_of(engine: "ReIDEngine", epoch: int) -> dict[str, Any]:
    """What continues the run after ``epoch`` finished epochs, in plain types and tensors.

    ``state_dict`` is of what evaluation runs; where that is an average, ``raw_state_dict`` is of
    the network. Every process must call it: the random generators are of all.
    """
    state = {
        "state_dict": engine.evaluated_model.state_dict(),
        "optimizer": {name: own.state_dict() for name, (own, _) in engine.optimizers.items()},
        "scheduler": {name: own.state_dict() for name, (_, own) in engine.optimizers.items()},
        "scaler": engine.precision.scaler.state_dict(),
        "rng": distributed.gathered(random_state(engine.device)),
        "epoch": epoch,
        "batch": engine.first_batch,
        "sums": engine.first_sums,
        "history": engine.history,
        "best": engine.best,
    }
    if engine.average is not None:
        state["raw_state_dict"] = engine.model.state_dict()
        state["averaged"] = int(engine.average.n_averaged)
    return state


def put_state(engine: "ReIDEngine", state: Mapping[str, Any]) -> None:
    """Continue where ``state`` was taken."""
    engine.model.load_state_dict(state.get("raw_state_dict", state["state_dict"]))
    if engine.average is not None:
        engine.average.module.load_state_dict(state["state_dict"])
        engine.average.n_averaged.fill_(state["averaged"])
    for name, (optimizer, scheduler) in engine.optimizers.items():
        optimizer.load_state_dict(state["optimizer"][name])
        scheduler.load_state_dict(state["scheduler"][name])
    engine.precision.scaler.load_state_dict(state["scaler"])
    set_random_state(state["rng"][distributed.rank()], engine.device)
    engine.first_batch, engine.first_sums = state["batch"], dict(state["sums"])
    engine.history, engine.best = list(state["history"]), dict(state["best"])
