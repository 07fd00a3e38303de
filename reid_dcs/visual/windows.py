"""Channels selected by the positions of images, per attention block (Section 2.2)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from reid_dcs.attention import AttentionBlock
from reid_dcs.visual.affinity import attention_blocks
from reid_dcs.visual.heat import show_heat


class Selection(NamedTuple):
    """Channels selected by the positions of B images in one attention block.

    Attributes:
        name: name of the block in the network.
        channels: number of channels C.
        start, length: start and length of the windows as fractions of C, averaged over the M
            windows of a position, (B, h, w); NaN for a mask, which has no windows.
        selected: fraction of the channels in the union of a position's windows, (B, h, w).
        weight: weight of each channel in that union, averaged over images and positions, (C,).
    """

    name: str
    channels: int
    start: np.ndarray
    length: np.ndarray
    selected: np.ndarray
    weight: np.ndarray


def selections(network: nn.Module, batches: Iterable[Tensor]) -> list[Selection]:
    """Selected channels of each attention block, in order of depth, over all batches.

    Args:
        network: a network with attention blocks.
        batches: normalized images, (B, 3, H, W) each.

    Raises:
        InputError: the network has no attention blocks.
    """
    batch_selections = [
        [
            _selection(name, block, x)
            for name, (block, x) in attention_blocks(network, images).items()
        ]
        for images in batches
    ]
    return [_concatenated(parts) for parts in zip(*batch_selections, strict=True)]


def _concatenated(parts: Sequence[Selection]) -> Selection:
    """Join the selections of one block over batches of any size."""
    start, length, selected = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("start", "length", "selected")
    )
    batch_sizes = [len(part.start) for part in parts]
    weight = np.average([part.weight for part in parts], axis=0, weights=batch_sizes)
    return Selection(parts[0].name, parts[0].channels, start, length, selected, weight)


@torch.no_grad()
def _selection(name: str, block: AttentionBlock, x: Tensor) -> Selection:
    """Channels that a block selects for its input x, (B, C, h, w)."""
    size, report = x.shape[2:], block.report(x)
    start, length, selected = (
        fraction.unflatten(1, size).float().cpu().numpy()  # (B, h, w)
        for fraction in (
            report.start.mean(-1) / block.channels,
            report.length.mean(-1) / block.channels,
            report.selected,
        )
    )
    weight = block.channel_weights(x).mean((0, 1)).float().cpu().numpy()
    return Selection(name, block.channels, start, length, selected, weight)


def draw_windows(image: np.ndarray, blocks: Sequence[Selection], index: int = 0) -> Figure:
    """Plot one row per block: start, length and selected fraction of each position.

    Args:
        image: uint8, (H, W, 3).
        blocks: the selection of each block, over a set of images that includes this one.
        index: index of this image in that set.
    """
    height, width = image.shape[:2]
    size = (6.2, (1.05 * height / width) * len(blocks) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(blocks), 4, squeeze=False)
    for row, block in zip(grid, blocks, strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(f"{_short(block.name)}\n{block.channels} channels", fontsize=7)
        for axes, maps in zip(row[1:], (block.start, block.length, block.selected), strict=True):
            if np.isnan(maps[index]).any():
                axes.text(0.5, 0.5, "no windows", ha="center", fontsize=7, transform=axes.transAxes)
                continue
            heat = show_heat(axes, image, maps[index], cmap="viridis", smooth=False)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", "start / C", "length / C", "selected"), strict=True):
        axes.set_title(title, fontsize=8)
    bar = figure.colorbar(heat, ax=grid[:, 1:], fraction=0.04, format="{x:.0%}")
    bar.ax.tick_params(labelsize=7)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    return figure


def draw_channels(blocks: Sequence[Selection]) -> Figure:
    """Plot the mean weight of each channel, block by block, and the share selected by depth.

    The paper finds DCS "more selective in higher layers", which would make the last plot fall.
    """
    columns = len(blocks) + 1
    figure = Figure(figsize=(2.3 * columns, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, columns, squeeze=False)[0]
    for axes, block in zip(grid, blocks, strict=False):
        axes.fill_between(np.arange(block.channels), block.weight, step="mid", linewidth=0)
        axes.set(xlim=(0, block.channels - 1), ylim=(0, 1.02))
        axes.set_title(_short(block.name), fontsize=8)
        axes.set_xlabel("channel", fontsize=7)
    grid[0].set_ylabel("mean weight in the selection", fontsize=7)
    means = [block.selected.mean() for block in blocks]
    deviations = [block.selected.std() for block in blocks]
    grid[-1].errorbar(range(1, columns), means, deviations, marker="o", capsize=3)
    grid[-1].set(xlim=(0.5, columns - 0.5), ylim=(0, 1.02), xticks=range(1, columns))
    grid[-1].set_title("share selected by depth", fontsize=8)
    grid[-1].set_xlabel("stage", fontsize=7)
    for axes in grid:
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _short(name: str) -> str:
    return name.removeprefix("trunk.")
