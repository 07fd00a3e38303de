"""From a model and a loader to features."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from reid_dcs.runtime.distributed import gathered, is_main


class Features(NamedTuple):
    """Features of a split, (N, D) float32 on the CPU, with their identities and cameras, (N,)."""

    vectors: Tensor
    pids: np.ndarray
    camids: np.ndarray


@torch.inference_mode()
def embed(
    model: nn.Module, images: Tensor, flip: bool = False, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Features (B, D), float32 on the CPU, of a batch (B, 3, H, W).

    Args:
        model: in evaluation mode, on the device of the images.
        flip: the mean of each image's features and its mirror image's.
        dtype: that the network computes in; below float32 by autocast.
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
    """Run a model in evaluation mode over torchreid's batches.

    Of a loader that is ``sharded`` over processes every process gets all features.

    Args:
        model: (B, 3, H, W) -> (B, D); put into evaluation mode.
        loader: batches with ``img``, ``pid`` and ``camid``.
        name: shown beside the progress bar.
        flip, dtype: see :func:`embed`.
    """
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), None)
    vectors, pids, camids = [], [], []
    silent = None if is_main() else True  # None: where there is no terminal
    for batch in tqdm(loader, f"features of {name}", unit="batch", leave=False, disable=silent):
        vectors.append(embed(model, batch["img"].to(device), flip, dtype))
        pids.append(batch["pid"])
        camids.append(batch["camid"])
    own = torch.cat(vectors), torch.cat(pids), torch.cat(camids)
    parts = gathered(own) if getattr(loader, "sharded", False) else [own]
    vectors, pids, camids = (torch.cat(column) for column in zip(*parts, strict=True))
    return Features(vectors, pids.numpy(), camids.numpy())
