"""Seed processes; save and restore the states of all random number generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from reid_dcs.runtime import distributed


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context with the same random numbers in all processes, and different ones afterwards."""
    torch.manual_seed(seed)
    yield
    if distributed.rank():
        torch.manual_seed(seed + distributed.rank())


def random_state(device: torch.device) -> dict[str, Any]:
    """States of the Python, NumPy, PyTorch and CUDA generators, as plain types and tensors."""
    legacy: Any = np.random.get_state()  # numpy's annotation allows a dict as well
    kind, keys, *rest = legacy
    state = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the result of :func:`random_state`."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
