"""Trained weights to give away: a safetensors file that says what it is, as a checkpoint does.

Matrices and convolutions are float16, whatever is a number a channel (biases, batch norms and
their statistics) stays float32. The optimizer, the random numbers and the folders of the run that
made them stay at home.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.files import written_whole

SAID = ("model", "preprocessing", "config", "metrics")
"""What a checkpoint says of itself, beside its tensors: JSON in the header's metadata."""

_KEY = "reid_dcs"  # the header's only one: of several their order, and so the file, would vary
_AT_HOME = {
    "": ("output_dir", "device", "resume"),
    "data": ("root", "mapped"),
    "eval": ("weights",),
}


def write_packed(path: Path, content: Mapping[str, Any]) -> float:
    """Write a checkpoint's weights, and what it says of itself, as safetensors.

    Args:
        path: of the file, which is there whole or not at all.
        content: as :func:`reid_dcs.weights.read_weights` gives it.

    Returns:
        the largest error of rounding, relative to the largest number of its tensor.

    Raises:
        InputError: it does not say which model it is, a weight is too large for float16 or is no
            number, or the file cannot be written.
    """
    if "model" not in content:
        raise InputError(f"{path} is not written: the weights do not say which model they are of")
    said = {key: content[key] for key in SAID if key in content}
    if "config" in said:
        said["config"] = _without_places(said["config"])
    packed = {name: _smaller(tensor) for name, tensor in content["state_dict"].items()}
    errors = [0.0]
    for name, tensor in packed.items():
        if not tensor.isfinite().all():
            raise InputError(f"{path} is not written: {name} has a number that float16 has not")
        before, after = content["state_dict"][name].double(), tensor.double()
        errors.append(((before - after).abs().max() / before.abs().max().clamp_min(1e-30)).item())
    with written_whole(path) as file:
        file.write(save(packed, {_KEY: json.dumps(said)}))
    return max(errors)


def read_packed(path: Path) -> dict[str, Any]:
    """What :func:`write_packed` was given, the weights in float32.

    A file of somebody else's has its tensors under ``state_dict``, and nothing else.

    Raises:
        SafetensorError: it is damaged.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        state = {name: _whole(file.get_tensor(name)) for name in file.keys()}
    said = json.loads(header.get(_KEY, "{}"))
    return {"state_dict": state, **{key: said[key] for key in SAID if key in said}}


def is_packed(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _smaller(tensor: Tensor) -> Tensor:
    matrix = tensor.is_floating_point() and tensor.ndim > 1
    return tensor.to(torch.float16 if matrix else tensor.dtype).contiguous()


def _whole(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without where it ran; of ImageNet weights, the file's name."""
    kept = {k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}
    for part, keys in _AT_HOME.items():
        node = kept.get(part, {}) if part else kept
        for key in keys:
            node.pop(key, None)
    pretrained = kept.get("model", {}).get("pretrained")
    if isinstance(pretrained, str):
        kept["model"]["pretrained"] = Path(pretrained).name
    return kept
