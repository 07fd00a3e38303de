"""The course of a training run, drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reid_dcs.files import written_whole


def draw_curves(history: Sequence[Mapping[str, float]], title: str, path: Path) -> None:
    """Losses, accuracy on the training identities and evaluations by epoch, as a PNG.

    Args:
        history: one entry an epoch, as in ``ReIDEngine.history``.
        title: of the picture.
        path: of the PNG; written whole.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    for name, label in (("identity", "identity loss"), ("triplet", "triplet loss")):
        left.plot(*_series(history, name), marker=".", label=label)
    for name, label in (
        ("accuracy", "accuracy in training"),
        ("rank1", "rank-1 in test"),
        ("mAP", "mAP in test"),
    ):
        epochs, values = _series(history, name)
        right.plot(epochs, [100 * v for v in values], marker=".", label=label)
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="%", ylim=(0, 100))
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _series(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[int], list[float]]:
    points = [(i, entry[name]) for i, entry in enumerate(history, 1) if name in entry]
    return [i for i, _ in points], [v for _, v in points]
