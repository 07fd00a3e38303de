"""Figure 1: the affinity of one position to all others, as attention blocks compute it.

``r_ij = y_i . x_j`` (Eq. 2), y_i the windowed query of the position i. A block never forms the
N x N affinities; here the rows of the positions asked for are.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from reid_dcs.attention import WindowedAttention, attention_inputs, windowed_query
from reid_dcs.errors import InputError
from reid_dcs.visual.heat import show_heat

Point = tuple[float, float]
"""(x, y), shares of the width and of the height, from 0 up to but not including 1."""


def affinities(network: nn.Module, image: Tensor, points: Sequence[Point]) -> dict[str, np.ndarray]:
    """What each point of an image attends to, in every attention block.

    Args:
        network: with attention blocks.
        image: (1, 3, H, W), normalised.
        points: P of them; each is the position that it lies in.

    Returns:
        by block, the affinities (P, h, w) to all positions.

    Raises:
        InputError: a network without attention.
    """
    found = {}
    for name, (block, x) in attention_blocks(network, image).items():
        height, width = x.shape[2:]
        positions = [int(py * height) * width + int(px * width) for px, py in points]
        rows = affinity_rows(block, x, positions)[0]  # (P, N)
        found[name] = rows.unflatten(1, (height, width)).cpu().numpy()
    return found


@torch.no_grad()
def affinity_rows(block: WindowedAttention, x: Tensor, positions: Sequence[int]) -> Tensor:
    """Rows of R: (B, C, h, w) -> (B, P, N), for P positions of the N = h w, row by row."""
    tokens = x.flatten(2).mT  # (B, N, C)
    query = windowed_query(tokens, *block.windows(x), mode=block.mode, union=block.union)
    return query[:, list(positions)] @ tokens.mT


def attention_blocks(
    network: nn.Module, images: Tensor
) -> dict[str, tuple[WindowedAttention, Tensor]]:
    """The blocks that images (B, 3, H, W) go through, and what each is given.

    Raises:
        InputError: there are none.
    """
    found = attention_inputs(network, images)
    if not found:
        raise InputError("the network has no attention: choose one such as mobilenetv2_dcs")
    return found


def draw_affinities(
    image: np.ndarray,
    points: Sequence[Point],
    columns: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
) -> Figure:
    """A row for each point: the image with the point marked, then every map over it.

    Args:
        image: uint8 (H, W, 3).
        points: the queries, P of them.
        columns: of each block of a network, the affinities (h, w) of each point; red is the most,
            of each map.
        titles: of the columns.
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
            at = (x * width - 0.5, y * height - 0.5)
            axes.plot(*at, marker="s", color="white", markersize=3, markeredgewidth=0)
            axes.plot(*at, marker="o", color="red", markersize=8, fillstyle="none")
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, title in zip(grid[0], ["query", *titles], strict=True):
        axes.set_title(title, fontsize=7)
    return figure
