"""Feature extraction from batches of images."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from reid_dcs.runtime.distributed import gathered, is_main


class Features(NamedTuple):
    """Features of the N images of a split.

    Attributes:
        vectors: (N, D) float32, on the CPU.
        pids, camids: (N,) identities and cameras.
    """

    vectors: Tensor
    pids: np.ndarray
    camids: np.ndarray


@torch.inference_mode()
def embed(
    model: nn.Module, images: Tensor, flip: bool = False, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Compute the features of one batch.

    Args:
        model: network in evaluation mode, on the device of the images.
        images: (B, 3, H, W).
        flip: average the features of each image and its horizontal flip.
        dtype: compute dtype of the network; autocast is used below float32.

    Returns:
        (B, D) float32, on the CPU.
    """
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        features = model(images).float()
        if flip:
            features = (features + model(images.flip(3)).float()) / 2
    return features.cpu()


def extract_features(
    model: nn.Module,
    loader: Iterable[dict],
    name: str = "images",
    *,
    flip: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Features:
    """Compute the features of all batches of a loader.

    If the loader has a true ``sharded`` attribute, it yields one rank's part of the images, and
    every rank gets the features of all parts.

    Args:
        model: network (B, 3, H, W) -> (B, D); set to evaluation mode.
        loader: torchreid batches with ``img``, ``pid`` and ``camid``.
        name: title of the progress bar.
        flip, dtype: see :func:`embed`.
    """
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), None)
    batches = []
    disable = None if is_main() else True  # None: disabled where there is no terminal
    for batch in tqdm(loader, f"features of {name}", unit="batch", leave=False, disable=disable):
        vectors = embed(model, batch["img"].to(device), flip, dtype)
        batches.append((vectors, batch["pid"], batch["camid"]))
    if getattr(loader, "sharded", False):  # the part of a process may have no images
        batches = [batch for part in gathered(batches) for batch in part]
    vectors, pids, camids = (torch.cat(column) for column in zip(*batches, strict=True))
    return Features(vectors, pids.numpy(), camids.numpy())
