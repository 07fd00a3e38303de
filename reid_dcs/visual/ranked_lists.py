"""Figure of ranked lists: each query at the left, then its gallery images, nearest first."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from reid_dcs.data.decode import read_rgb, resize
from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankedList
from reid_dcs.files import written_whole

_HEIGHT, _WIDTH = 160, 80  # pixels of an image
_MATCH, _NEGATIVE, _QUERY = "tab:green", "tab:red", "black"  # frame colors


Picture = str | Image.Image
"""A file, or a decoded image."""


def draw_ranked_lists(
    lists: Sequence[RankedList], queries: Sequence[Picture], gallery: Sequence[Picture], path: Path
) -> None:
    """Save :func:`ranked_lists_figure` as a PNG, atomically."""
    figure = ranked_lists_figure(lists, queries, gallery)
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=100)


def ranked_lists_figure(
    lists: Sequence[RankedList], queries: Sequence[Picture], gallery: Sequence[Picture]
) -> Figure:
    """Plot one row per list: matches framed green, negatives red, rank and distance above each.

    An average precision that is NaN is left out.

    Args:
        lists: ranked lists; in a small gallery some may be shorter than others.
        queries, gallery: all query and gallery images, indexed by the lists.

    Raises:
        InputError: an image cannot be read.
    """
    columns = 1 + max(len(ranked.gallery) for ranked in lists)
    figure = Figure(figsize=(0.86 * columns, 1.86 * len(lists)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(lists), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, ranked in zip(grid, lists, strict=True):
        precision = ranked.average_precision
        title = "query\n" if np.isnan(precision) else f"query\nAP {precision:.2f}"
        _show(row[0], queries[ranked.query], title, _QUERY)
        for i, image in enumerate(ranked.gallery):
            color = _MATCH if ranked.matches[i] else _NEGATIVE
            _show(row[i + 1], gallery[image], f"{i + 1}\n{ranked.distances[i]:.3f}", color)
    return figure


def _show(axes: Axes, image: Picture, title: str, color: str) -> None:
    """Draw one image with a title and a frame of the given color."""
    try:
        decoded = read_rgb(image) if isinstance(image, str) else image
    except OSError as error:
        raise InputError(f"{image} cannot be drawn: unreadable or truncated; replace it") from error
    axes.imshow(resize(decoded, _HEIGHT, _WIDTH))
    axes.set_title(title, fontsize=7, color=color)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=3)
