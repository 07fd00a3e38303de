"""Ranked lists as a picture: the query at the left, then what was found, nearest first."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reid_dcs.data.decode import read_image
from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankedList
from reid_dcs.files import written_whole

_HEIGHT, _WIDTH = 160, 80  # pixels of an image
_FOUND, _WRONG, _QUERY = "tab:green", "tab:red", "black"


def draw_ranked_lists(
    lists: Sequence[RankedList], queries: Sequence[str], gallery: Sequence[str], path: Path
) -> None:
    """:func:`ranked_lists_figure` as a PNG; written whole."""
    figure = ranked_lists_figure(lists, queries, gallery)
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=100)


def ranked_lists_figure(
    lists: Sequence[RankedList], queries: Sequence[str], gallery: Sequence[str]
) -> Figure:
    """A row for each list: matches framed green, others red, distances above.

    Args:
        lists: of the same length but for small galleries.
        queries, gallery: files of all images, by the numbers in the lists.

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
        score = f"query\nAP {ranked.average_precision:.2f}"
        _show(row[0], queries[ranked.query], score, _QUERY)
        found = zip(ranked.gallery, ranked.distances, ranked.matches, strict=True)
        for place, (axes, (image, distance, match)) in enumerate(
            zip(row[1:], found, strict=False), 1
        ):
            colour = _FOUND if match else _WRONG
            _show(axes, gallery[image], f"{place}\n{distance:.3f}", colour)
    return figure


def _show(axes: Axes, path: str, title: str, colour: str) -> None:
    try:
        axes.imshow(read_image(path, _HEIGHT, _WIDTH))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be drawn: unreadable or truncated; replace it") from error
    axes.set_title(title, fontsize=7, color=colour)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=3)
