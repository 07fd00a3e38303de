"""Figure 1: the affinity of one position to all positions, as an attention block computes it.

``r_ij = y_i . x_j`` (Eq. 2), where y_i is the windowed query of position i. A block never forms the
N x N affinity matrix for this; :meth:`AttentionBlock.affinities` computes the rows of the requested
positions.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from reid_dcs.attention import AttentionBlock, attention_inputs
from reid_dcs.errors import InputError
from reid_dcs.visual.heat import show_heat
from reid_dcs.visual.text import plain_text

Point = tuple[float, float]
"""(x, y) as fractions of the image's width and height, each in [0, 1)."""


def affinities(network: nn.Module, image: Tensor, points: Sequence[Point]) -> dict[str, np.ndarray]:
    """Affinities of the given points of an image in every attention block.

    Args:
        network: a network with attention blocks.
        image: a normalized image, (1, 3, H, W).
        points: P points; each selects the position of the feature map that contains it.

    Returns:
        For each block name, the affinities to all positions, (P, h, w).

    Raises:
        InputError: the network has no attention blocks.
    """
    maps = {}
    for name, (block, x) in attention_blocks(network, image).items():
        height, width = x.shape[2:]
        positions = [int(py * height) * width + int(px * width) for px, py in points]
        rows = block.affinities(x, positions)[0]  # (P, N)
        maps[name] = rows.unflatten(1, (height, width)).cpu().numpy()
    return maps


def attention_blocks(
    network: nn.Module, images: Tensor
) -> dict[str, tuple[AttentionBlock, Tensor]]:
    """The attention blocks of a network with their inputs for images (B, 3, H, W), by name.

    Raises:
        InputError: the network has no attention blocks.
    """
    blocks = attention_inputs(network, images)
    if not blocks:
        raise InputError("the network has no attention: choose one such as mobilenetv2_dcs")
    return blocks


def draw_affinities(
    image: np.ndarray,
    points: Sequence[Point],
    columns: Sequence[np.ndarray],
    titles: Sequence[str],
) -> Figure:
    """Plot one row per point: the image with the point marked, then each affinity map over it.

    Args:
        image: uint8, (H, W, 3).
        points: P query points.
        columns: one entry per attention block, each with P affinity maps (h, w). Each map is
            scaled to its minimum (blue) and maximum (red).
        titles: one title per column.
    """
    height, width = image.shape[:2]
    size = (1.2 * (1 + len(columns)) + 0.3, 1.2 * len(points) * height / width + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(points), 1 + len(columns), squeeze=False)
    for i, (x, y) in enumerate(points):
        grid[i, 0].imshow(image)
        for axes, maps in zip(grid[i, 1:], columns, strict=True):
            show_heat(axes, image, maps[i], (maps[i].min(), maps[i].max()))
        for axes in grid[i]:
            marker = (x * width - 0.5, y * height - 0.5)
            axes.plot(*marker, marker="s", color="white", markersize=3, markeredgewidth=0)
            axes.plot(*marker, marker="o", color="red", markersize=8, fillstyle="none")
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, title in zip(grid[0], ["query", *titles], strict=True):
        axes.set_title(plain_text(title), fontsize=7)
    return figure
