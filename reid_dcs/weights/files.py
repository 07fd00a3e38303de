"""Weight files: read without running code from them, matched name by name, or refused."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.weights.safetensors import is_packed, read_packed

# torchreid's checkpoints hold their rank-1 as a numpy scalar
_NUMPY_SCALAR = [
    np.dtype,
    np._core.multiarray.scalar,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]


def read_weights(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours or of torchreid's, a bare state dict, or safetensors, as a dict.

    Returns:
        ``state_dict`` and whatever else the file holds. DataParallel's ``module.`` is taken off
        the names.

    Raises:
        InputError: no such file, damaged, not weights, or something that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights at {path.resolve()}")
    try:
        content = read_packed(path) if is_packed(path) else _read_pickled(path)
    except Exception as error:  # torch.load raises whatever the broken byte happens to raise
        raise InputError(f"{path} is not a file of weights, or it is damaged") from error
    if isinstance(content, Mapping) and "state_dict" not in content:
        content = {"state_dict": content}
    if not isinstance(content, Mapping) or not _is_state(content["state_dict"]):
        raise InputError(f"{path} holds no weights")
    state = {k.removeprefix("module."): v for k, v in content["state_dict"].items()}
    return {**content, "state_dict": state}


def load_exactly(
    module: nn.Module, state: Mapping[str, Tensor], source: object, but: str | None = None
) -> None:
    """``load_state_dict`` that takes all or nothing.

    Args:
        source: where the state is from, for the error.
        but: what may differ: parameters with this in their names are taken where they fit.

    Raises:
        InputError: names or shapes differ.
    """
    own = module.state_dict()
    wrong = {
        "missing": [k for k in own if k not in state],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [k for k in own if k in state and own[k].shape != state[k].shape],
    }
    if but is not None:
        wrong = {what: [k for k in names if but not in k] for what, names in wrong.items()}
    if any(wrong.values()):
        found = "; ".join(f"{len(v)} {what}, such as {v[0]}" for what, v in wrong.items() if v)
        raise InputError(f"{source} holds the weights of another architecture ({found})")
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    module.load_state_dict(fitting, strict=but is None)


def _read_pickled(path: Path) -> Any:
    """What ``torch.save`` wrote: tensors and plain types. Code is refused, not run."""
    _check_sums(path)
    with torch.serialization.safe_globals(_NUMPY_SCALAR):
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_sums(path: Path) -> None:
    """torch reads a zip file without looking at its checksums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()
    )
