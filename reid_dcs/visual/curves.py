"""The course of a training run, drawn."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reid_dcs.files import written_whole
from reid_dcs.visual.text import plain_text

History = Sequence[Mapping[str, float]]
"""One entry an epoch, as in ``Trainer.history``."""


SCORES = {
    "accuracy": "accuracy in training",
    "rank1": "rank-1 in test",
    "mAP": "mAP in test",
    "top1": "top-1 in test",
    "box_AP": "box AP in test",
    "mask_AP": "mask AP in test",
}
"""Fractions that are drawn in per cent, and their labels."""

_NOT_LOSSES = {*SCORES, "rank5", "rank10", "mINP", "top5", "seconds", "images_s", "lr"}


def draw_curves(history: History, title: str, path: Path) -> None:
    """Losses, accuracy on the training identities and evaluations by epoch, as a PNG.

    Args:
        history: of the run.
        title: of the picture.
        path: of the PNG; written whole.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text(title))
    left, right = figure.subplots(1, 2)
    _plot_losses(left, history)
    _plot_scores(right, history)
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=120)


def curve_figures(history: History) -> tuple[Figure, Figure]:
    """The two halves of :func:`draw_curves` on their own: losses, scores."""
    return _half(_plot_losses, history), _half(_plot_scores, history)


def _half(plot: Callable[[Axes, History], None], history: History) -> Figure:
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    plot(figure.subplots(), history)
    return figure


def _plot_losses(axes: Axes, history: History) -> None:
    """Whatever losses a history has."""
    names = dict.fromkeys(name for entry in history for name in entry if _is_loss(name))
    for name in names:
        axes.plot(*_series(history, name), marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    _dress(axes)


def _plot_scores(axes: Axes, history: History) -> None:
    found = dict.fromkeys(name for entry in history for name in entry)
    for score, label in SCORES.items():
        for name in found:
            part, _, bare = name.rpartition("/")  # of a joint data set: market1501/mAP
            if bare == score:
                epochs, values = _series(history, name)
                title = f"{label}: {part}" if part else label
                axes.plot(epochs, [100 * v for v in values], marker=".", label=title)
    axes.set(xlabel="epoch", ylabel="%", ylim=(0, 100))
    _dress(axes)


def _is_loss(name: str) -> bool:
    bare = name.rpartition("/")[2]
    return bare not in _NOT_LOSSES and "_AP" not in bare


def _dress(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _series(history: History, name: str) -> tuple[list[int], list[float]]:
    points = [(i, entry[name]) for i, entry in enumerate(history, 1) if name in entry]
    return [i for i, _ in points], [v for _, v in points]
