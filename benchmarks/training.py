"""A training step on random images, shared by the benchmarks of steps."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.losses import IdentityTripletLoss

IDENTITIES = 751  # training identities of Market-1501
INSTANCES = 4  # images per identity in a batch


def add_input_arguments(parser: argparse.ArgumentParser, batch: int = 32) -> None:
    """Add ``--height``, ``--width`` and ``--batch``."""
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=batch)


def random_batch(
    batch: int,
    height: int,
    width: int,
    device: torch.device | str = "cpu",
    layout: torch.memory_format = torch.channels_last,
) -> tuple[Tensor, Tensor]:
    """Random images (B, 3, H, W) and their identities (B,), INSTANCES images per identity."""
    images = torch.randn(batch, 3, height, width, device=device).to(memory_format=layout)
    pids = torch.arange(batch // INSTANCES, device=device).repeat_interleave(INSTANCES)
    return images, pids


def training_step(
    model: nn.Module,
    images: Tensor,
    pids: Tensor,
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    penalty: Callable[[], Tensor] | None = None,
) -> Callable[[], None]:
    """Function that runs one training step: forward, backward and Adam.

    Args:
        model: the network to train, on the device of the batch.
        images: (B, 3, H, W).
        pids: (B,).
        autocast: context of the forward pass, such as ``Precision.autocast``; float32 by default.
        penalty: function that returns a term to add to the loss.
    """
    optimizer = torch.optim.Adam(model.train().parameters(), 1e-4, fused=True)
    criterion = IdentityTripletLoss()

    def step() -> None:
        with autocast():
            logits, features = model(images)
        loss = criterion(logits.float(), features, pids).total
        if penalty:
            loss = loss + penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
