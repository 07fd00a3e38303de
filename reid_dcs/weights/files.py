"""Read weight files without running code from them, and load state dicts exactly."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.weights.safetensors import is_safetensors, load_safetensors

# torchreid's checkpoints hold the rank-1 accuracy as a NumPy scalar
_NUMPY_SCALAR: list[Any] = [
    np.dtype,
    scalar,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this package or of torchreid, a bare state dict, or safetensors.

    Returns:
        ``state_dict``, with DataParallel's prefix ``module.`` removed from its names, and
        everything else that the file holds.

    Raises:
        InputError: the file is missing or damaged, holds no weights, or holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights at {path.resolve()}: check the path")
    try:
        content = load_safetensors(path) if is_safetensors(path) else _load_pickle(path)
    except Exception as error:  # torch.load raises many kinds of errors for a damaged file
        raise InputError(
            f"{path} is not a file of weights, or it is damaged: use another file"
        ) from error
    if isinstance(content, Mapping) and "state_dict" not in content:
        content = {"state_dict": content}
    if not isinstance(content, Mapping) or not _is_state_dict(content["state_dict"]):
        raise InputError(f"{path} holds no weights: use a state dict or a checkpoint")
    state = {k.removeprefix("module."): v for k, v in content["state_dict"].items()}
    return {**content, "state_dict": state}


def load_exactly(
    module: nn.Module, state: Mapping[str, Tensor], source: object, ignore: str | None = None
) -> None:
    """``load_state_dict`` that changes nothing unless all names and shapes match.

    Args:
        source: origin of the state dict, for errors.
        ignore: parameters whose names contain this text may be missing, unexpected or of another
            shape; those that match are loaded.

    Raises:
        InputError: other names or shapes differ.
    """
    current = module.state_dict()
    wrong = {
        "missing": [k for k in current if k not in state],
        "unexpected": [k for k in state if k not in current],
        "of another shape": [
            k for k in current if k in state and current[k].shape != state[k].shape
        ],
    }
    if ignore is not None:
        wrong = {what: [k for k in names if ignore not in k] for what, names in wrong.items()}
    if any(wrong.values()):
        found = "; ".join(f"{len(v)} {what}, such as {v[0]}" for what, v in wrong.items() if v)
        raise InputError(
            f"{source} holds the weights of another architecture ({found}): name the model that it "
            "was trained as"
        )
    matching = {k: v for k, v in state.items() if k in current and current[k].shape == v.shape}
    module.load_state_dict(matching, strict=ignore is None)


def _load_pickle(path: Path) -> Any:
    """Read tensors and plain types from a file of ``torch.save``; pickled code is refused."""
    _check_zip(path)
    with torch.serialization.safe_globals(_NUMPY_SCALAR):
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_zip(path: Path) -> None:
    """Verify the checksums of a zip file, which ``torch.load`` ignores."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()
    )
