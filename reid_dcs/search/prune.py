"""Statistics of the windows that a search found, and pruning of the channels they do not select.

Values and residual use all channels, so pruning makes only the affinities cheaper. A window that
all positions share is a slice of the channels; for windows per position, the channels that no
position of a calibration set selects are left out.
"""

import copy
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import AttentionBlock, named_blocks
from reid_dcs.runtime.hooks import evaluating

QUANTILES = (0.05, 0.5, 0.95)
SATURATED = (0.05, 0.95)  # shares of the channels; a window outside selects nothing or everything


class _Statistics:
    """Windows of one block over all batches."""

    def __init__(self, channels: int) -> None:
        self.values: dict[str, list[Tensor]] = {"start": [], "length": [], "selected": []}
        self.reads = torch.zeros(channels, dtype=torch.long)  # positions that read each channel
        self.positions = 0

    def add(self, block: AttentionBlock, x: Tensor) -> None:
        """Add the windows for an input x (B, C, H, W) of the block."""
        for name, value in block.report(x)._asdict().items():
            self.values[name].append(value.float().cpu())
        self.reads += block.reads(x).sum((0, 1)).cpu()
        self.positions = x.shape[2] * x.shape[3]


def describe_windows(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, dict[str, Any]]:
    """Measure the windows of each attention block over a calibration set.

    Args:
        network: any network with attention blocks; it is not changed.
        batches: images, (B, 3, H, W).

    Returns:
        by name of the block: ``kind``, ``channels``; mean, standard deviation and quantiles of
        ``start`` and ``length`` (in channels) and of ``selected`` (fraction of the channels in the
        union of a position's windows); ``saturated`` (fractions of the windows whose length, and
        of the positions whose ``selected``, is outside of ``SATURATED``); ``variance`` of ``start``
        and ``length``, in units of C, ``over_positions`` (mean over images) and ``over_images``
        (mean over positions); ``read`` (channels that any position reads, as
        ``[first, last + 1]`` ranges); and the multiply-adds of the affinity products per image
        before and after pruning, ``macs`` and ``pruned_macs``. A block with a mask has no windows,
        and none of their statistics.

    Raises:
        ValueError: no images.
    """
    found = {}
    for name, (block, seen) in _watch(network, batches).items():
        channels = block.channels
        read = seen.reads.nonzero().flatten()
        values = {key: torch.cat(parts) for key, parts in seen.values.items()}
        windows = {
            key: values[key] / channels  # (B, N, M)
            for key in ("start", "length")
            if values[key].numel()
        }
        found[name] = {
            "kind": type(block).__name__.lower(),
            "channels": channels,
            **{key: _distribution(values[key].flatten()) for key in (*windows, "selected")},
            "saturated": {
                key: _share_saturated(value)
                for key, value in (*windows.items(), ("selected", values["selected"]))
                if key != "start"
            },
            "variance": {key: _variances(value) for key, value in windows.items()},
            "read": _ranges(read.tolist()),
            "macs": block.affinity_macs(seen.positions, channels, channels),
            "pruned_macs": block.affinity_macs(seen.positions, len(read), channels),
        }
    return found


def pruned(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Copy a network, with affinities that leave out the channels that no position reads.

    On these batches its output equals the network's. On other images, windows per position may
    select channels that were left out; a shared window cannot. A state dict does not hold what was
    left out.

    Raises:
        ValueError: no images.
    """
    reads = {name: seen.reads for name, (_, seen) in _watch(network, batches).items()}
    smaller = copy.deepcopy(network)
    for name, block in named_blocks(smaller).items():
        block.keep(reads[name] > 0)
    return smaller


@torch.no_grad()
def compare(network: nn.Module, smaller: nn.Module, images: Tensor) -> dict[str, float]:
    """Compare features and speed: largest relative difference, and seconds of each network."""
    networks = {"seconds": network, "pruned_seconds": smaller}
    seconds, features = dict.fromkeys(networks, float("inf")), {}
    with evaluating(network), evaluating(smaller):
        for name in 5 * list(networks):  # alternating, since the machine's speed drifts
            started = time.perf_counter()
            features[name] = networks[name](images)
            if images.is_cuda:
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    whole, rest = features.values()
    return {"difference": float((whole - rest).abs().max() / whole.abs().max()), **seconds}


def _watch(
    network: nn.Module, batches: Iterable[Tensor]
) -> dict[str, tuple[AttentionBlock, _Statistics]]:
    blocks = {
        name: (block, _Statistics(block.channels)) for name, block in named_blocks(network).items()
    }
    hooks = [
        block.register_forward_pre_hook(lambda block, inputs, seen=seen: seen.add(block, inputs[0]))
        for block, seen in blocks.values()
    ]
    count = 0
    try:
        with evaluating(network):
            for images in batches:
                network(images)
                count += len(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not count:  # such as a generator that was used before
        raise ValueError("no images to measure the windows on")
    return blocks


def _distribution(values: Tensor) -> dict[str, float]:
    ordered = values.sort().values  # torch.quantile refuses more than 16 M values
    quantiles = {
        f"q{round(100 * q):02}": float(ordered[round(q * (len(ordered) - 1))]) for q in QUANTILES
    }
    return {"mean": float(values.mean()), "std": float(values.std(correction=0)), **quantiles}


def _share_saturated(shares: Tensor) -> float:
    """Fraction of the numbers that are outside of ``SATURATED``."""
    least, most = SATURATED
    return float(((shares < least) | (shares > most)).float().mean())


def _variances(values: Tensor) -> dict[str, float]:
    """Variance of each window over the positions and over the images, from (B, N, M)."""
    over = {"over_positions": 1, "over_images": 0}
    return {key: float(values.var(dim, correction=0).mean()) for key, dim in over.items()}


def _ranges(channels: list[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for channel in channels:
        if ranges and ranges[-1][1] == channel:
            ranges[-1][1] += 1
        else:
            ranges.append([channel, channel + 1])
    return ranges
