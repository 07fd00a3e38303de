"""Weights for sharing: safetensors with the model card and the configuration as metadata.

Matrices and convolution kernels are stored as float16, vectors (biases, batch norms and their
statistics) as float32. Optimizer state, RNG state and local paths are dropped.
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
from reid_dcs.weights.card import CARD_KEYS, ModelCard

LOCAL_KEYS = {
    "": ("output_dir", "device", "resume"),
    "data": ("root", "mapped"),
    "eval": ("weights",),
}
"""Settings of the local machine, by section; they are not written."""

_METADATA = "reid_dcs"  # a single key, because safetensors writes several in varying order


def save_safetensors(path: Path, content: Mapping[str, Any], card: ModelCard) -> float:
    """Write weights and their card as safetensors.

    Args:
        path: file to write, atomically.
        content: result of :func:`reid_dcs.weights.read_weights`; its ``config`` is written too.

    Returns:
        the largest rounding error, relative to the largest absolute value in its tensor.

    Raises:
        InputError: a weight is not finite or too large for float16, or the file cannot be written.
    """
    metadata = card.to_dict()
    if isinstance(content.get("config"), Mapping):
        metadata["config"] = without_local_keys(content["config"])
    state = content["state_dict"]
    rounded = {name: _to_half(tensor) for name, tensor in state.items()}
    errors = [0.0]
    for name, tensor in rounded.items():
        if not tensor.isfinite().all():
            raise InputError(
                f"{path} is not written: {name} holds a number that float16 cannot represent; "
                "export an earlier checkpoint"
            )
        before, after = state[name].double(), tensor.double()
        errors.append(((before - after).abs().max() / before.abs().max().clamp_min(1e-30)).item())
    with written_whole(path) as file:
        file.write(save(rounded, {_METADATA: json.dumps(metadata)}))
    return max(errors)


def load_safetensors(path: Path) -> dict[str, Any]:
    """Read ``state_dict`` in float32, and the metadata of :func:`save_safetensors` if any.

    Raises:
        SafetensorError: the file is damaged.
        ValueError: the metadata is damaged.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        state = {name: _to_float(file.get_tensor(name)) for name in file.keys()}
    metadata = json.loads(header.get(_METADATA, "{}"))
    if not isinstance(metadata, dict):
        raise ValueError(f"the metadata {_METADATA} is not a JSON object")
    known = {key: metadata[key] for key in (*CARD_KEYS, "config") if key in metadata}
    return {"state_dict": state, **known}


def is_safetensors(path: Path) -> bool:
    """Check if a file starts like safetensors: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _to_half(tensor: Tensor) -> Tensor:
    matrix = tensor.is_floating_point() and tensor.ndim > 1
    return tensor.to(torch.float16 if matrix else tensor.dtype).contiguous()


def _to_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def without_local_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without local paths; a path of ImageNet weights is cut to its name."""
    kept = {}
    for section, settings in config.items():
        if isinstance(settings, Mapping):
            local = LOCAL_KEYS.get(section, ())
            kept[section] = {key: value for key, value in settings.items() if key not in local}
        elif section not in LOCAL_KEYS[""]:
            kept[section] = settings
    model = kept.get("model")
    if isinstance(model, dict) and isinstance(model.get("pretrained"), str):
        model["pretrained"] = Path(model["pretrained"]).name
    return kept
