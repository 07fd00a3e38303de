"""Weights for sharing: safetensors with the model card and the configuration as metadata.

Matrices and convolution kernels are stored as float16, vectors (biases, batch norms and their
statistics) as float32. Optimizer state, RNG state and local paths are dropped. A checksum of the
tensors and the metadata is written with them and verified when the file is read.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, written_whole
from reid_dcs.weights.card import CARD_KEYS, ModelCard, without_roots

LOCAL_KEYS = {
    "": ("output_dir", "device", "resume"),
    "data": ("root", "mapped", "shards", "val_shards", "label_map"),
    "eval": ("weights",),
}
"""Settings of the local machine, by section; they are not written."""

_METADATA = "reid_dcs"  # a single key, because safetensors writes several in varying order
_CHECKSUM = "sha256"  # in the metadata; files of others and of earlier versions have none


def save_safetensors(path: Path, content: Mapping[str, Any], card: ModelCard) -> float:
    """Write weights and their card as safetensors.

    Args:
        path: file to write, atomically; its folder is created if needed.
        content: result of :func:`reid_dcs.weights.read_weights`; its ``config`` is written too.

    Returns:
        the largest rounding error, relative to the largest absolute value in its tensor.

    Raises:
        InputError: a weight is not finite or too large for float16, or the file cannot be written.
    """
    metadata = card.to_share()
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
    metadata[_CHECKSUM] = _checksum(rounded, metadata)
    create_folder(path.parent)
    with written_whole(path) as file:
        file.write(save(rounded, {_METADATA: json.dumps(metadata)}))
    return max(errors)


def load_safetensors(path: Path) -> dict[str, Any]:
    """Read ``state_dict`` in float32, and the metadata of :func:`save_safetensors` if any.

    Raises:
        SafetensorError: the file is damaged.
        ValueError: the metadata is damaged, or the checksum differs.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        stored = {name: file.get_tensor(name) for name in file.keys()}
    metadata = json.loads(header.get(_METADATA, "{}"))
    if not isinstance(metadata, dict):
        raise ValueError(f"the metadata {_METADATA} is not a JSON object")
    if _CHECKSUM in metadata and metadata.pop(_CHECKSUM) != _checksum(stored, metadata):
        raise ValueError("the checksum of the tensors differs")
    state = {name: _to_float(tensor) for name, tensor in stored.items()}
    known = {key: metadata[key] for key in (*CARD_KEYS, "config") if key in metadata}
    return {"state_dict": state, **known}


def is_safetensors(path: Path) -> bool:
    """Check if a file starts like safetensors: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _checksum(state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """SHA-256 of the metadata, and of name, type, shape and bytes of each tensor."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _to_half(tensor: Tensor) -> Tensor:
    matrix = tensor.is_floating_point() and tensor.ndim > 1
    return tensor.to(torch.float16 if matrix else tensor.dtype).contiguous()


def _to_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def without_local_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without local paths; those of initial weights are cut to their names."""
    kept = {}
    for section, settings in config.items():
        if isinstance(settings, Mapping):
            local = LOCAL_KEYS.get(section, ())
            kept[section] = {key: value for key, value in settings.items() if key not in local}
            if section == "data" and isinstance(settings.get("options"), Mapping):
                kept[section]["options"] = without_roots(settings["options"])
        elif section not in LOCAL_KEYS[""]:
            kept[section] = settings
    for section, key in (("model", "pretrained"), ("train", "init")):
        settings = kept.get(section)
        if isinstance(settings, dict) and isinstance(settings.get(key), str):
            settings[key] = Path(settings[key]).name
    return kept
