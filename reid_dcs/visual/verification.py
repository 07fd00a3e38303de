"""Plot of a verification: true- against false-accept rate, and the chosen threshold."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reid_dcs.evaluation import Verification
from reid_dcs.files import written_whole
from reid_dcs.visual.text import plain_text

_POINTS = 400


def draw_verification(result: Verification, far: float, title: str, path: Path) -> None:
    """Save :func:`verification_figure` as a PNG, atomically."""
    with written_whole(path) as file:
        verification_figure(result, far, title).savefig(file, format="png", dpi=120)


def verification_figure(result: Verification, far: float, title: str = "") -> Figure:
    """Plot TAR against FAR, both in per cent, and FAR and TAR against the threshold.

    Args:
        result: pairs by distance.
        far: the wanted false-accept rate, which is marked.
        title: title of the figure.
    """
    thresholds, false_accepts, true_accepts = result.rates()
    chosen, at_far, at_tar = result.threshold(far)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    kept = false_accepts > 0
    points = _thin(false_accepts[kept])
    left.plot(100 * false_accepts[kept][points], 100 * true_accepts[kept][points])
    left.plot(100 * at_far, 100 * at_tar, "o", color="tab:red")
    left.set(xscale="log", xlabel="false-accept rate, %", ylabel="true-accept rate, %")
    inside = _thin(thresholds)
    right.plot(thresholds[inside], 100 * false_accepts[inside], label="false accepts")
    right.plot(thresholds[inside], 100 * true_accepts[inside], label="true accepts")
    right.axvline(chosen, color="tab:red", linestyle="--", label=f"{chosen:.3f}")
    right.set(xlabel="threshold of the cosine distance", ylabel="%", xlim=(0, 1.5))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain_text(title), fontsize=10)
    return figure


def _thin(values: np.ndarray) -> np.ndarray:
    """At most 400 indices, evenly spaced."""
    return np.unique(np.linspace(0, len(values) - 1, _POINTS).astype(int))
