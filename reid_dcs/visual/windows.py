"""Which channels the positions of an image select, stage by stage (Section 2.2)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from reid_dcs.attention import WindowedAttention
from reid_dcs.attention.mask import overlap_union
from reid_dcs.visual.affinity import attention_blocks
from reid_dcs.visual.heat import show_heat


class Selection(NamedTuple):
    """What the positions of B images select of the C channels of one attention block.

    Attributes:
        name: of the block in the network.
        channels: C.
        start, length: of the windows, as shares of C, the mean of a position's M: (B, h, w).
        selected: share of C in the union of a position's windows, (B, h, w).
        weight: how much of each channel the union covers, the mean over images and positions, (C,).
    """

    name: str
    channels: int
    start: np.ndarray
    length: np.ndarray
    selected: np.ndarray
    weight: np.ndarray


def selections(network: nn.Module, batches: Iterable[Tensor]) -> list[Selection]:
    """One for each attention block, in order of depth, over the images of all batches.

    Args:
        network: with attention.
        batches: of images (B, 3, H, W), normalised.

    Raises:
        InputError: a network without attention.
    """
    found = [
        [_selection(name, *own) for name, own in attention_blocks(network, images).items()]
        for images in batches
    ]
    return [_joined(parts) for parts in zip(*found, strict=True)]


def _joined(parts: Sequence[Selection]) -> Selection:
    """Of one block, over batches of any size."""
    start, length, selected = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("start", "length", "selected")
    )
    counts = [len(part.start) for part in parts]
    weight = np.average([part.weight for part in parts], axis=0, weights=counts)
    return Selection(parts[0].name, parts[0].channels, start, length, selected, weight)


@torch.no_grad()
def _selection(name: str, block: WindowedAttention, x: Tensor) -> Selection:
    tokens, size = x.flatten(2).mT, x.shape[2:]  # (B, N, C)
    start, length, selected = block.report(x)  # (B, N, M), (B, N, M), (B, N)
    overlap = overlap_union(tokens, *block.windows(x), "max").expand_as(tokens)
    shares = (start.mean(-1) / block.channels, length.mean(-1) / block.channels, selected)
    maps = [share.unflatten(1, size).float().cpu().numpy() for share in shares]
    return Selection(name, block.channels, *maps, overlap.mean((0, 1)).float().cpu().numpy())


def draw_windows(image: np.ndarray, found: Sequence[Selection], which: int = 0) -> Figure:
    """A row a stage: start, length and selected share of each position, over the image.

    Args:
        image: uint8 (H, W, 3).
        found: of images that this one is among.
        which: its number among them.
    """
    height, width = image.shape[:2]
    size = (6.2, (1.05 * height / width) * len(found) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(found), 4, squeeze=False)
    for row, own in zip(grid, found, strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(f"{_short(own.name)}\n{own.channels} channels", fontsize=7)
        for axes, maps in zip(row[1:], (own.start, own.length, own.selected), strict=True):
            shown = show_heat(axes, image, maps[which], colours="viridis", smooth=False)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", "start / C", "length / C", "selected"), strict=True):
        axes.set_title(title, fontsize=8)
    bar = figure.colorbar(shown, ax=grid[:, 1:], fraction=0.04, format="{x:.0%}")
    bar.ax.tick_params(labelsize=7)
    bar.solids.set_alpha(1)
    return figure


def draw_channels(found: Sequence[Selection]) -> Figure:
    """How much each channel is selected, stage by stage; and the share selected by depth.

    The paper finds DCS "more selective in higher layers": the last curve would then fall.
    """
    columns = len(found) + 1
    figure = Figure(figsize=(2.3 * columns, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, columns, squeeze=False)[0]
    for axes, own in zip(grid, found, strict=False):
        axes.fill_between(np.arange(own.channels), own.weight, step="mid", linewidth=0)
        axes.set(xlim=(0, own.channels - 1), ylim=(0, 1.02))
        axes.set_title(_short(own.name), fontsize=8)
        axes.set_xlabel("channel", fontsize=7)
    grid[0].set_ylabel("mean weight in the windows", fontsize=7)
    means = [own.selected.mean() for own in found]
    grid[-1].errorbar(
        range(1, columns), means, [own.selected.std() for own in found], marker="o", capsize=3
    )
    grid[-1].set(xlim=(0.5, columns - 0.5), ylim=(0, 1.02), xticks=range(1, columns))
    grid[-1].set_title("share selected by depth", fontsize=8)
    grid[-1].set_xlabel("stage", fontsize=7)
    for axes in grid:
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _short(name: str) -> str:
    return name.removeprefix("trunk.")
