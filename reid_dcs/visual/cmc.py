"""Plot of the cumulative matching characteristic (CMC)."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reid_dcs.evaluation import RankResult
from reid_dcs.files import written_whole
from reid_dcs.visual.text import plain_text


def draw_cmc(result: RankResult, title: str, path: Path) -> None:
    """Save :func:`cmc_figure` as a PNG, atomically."""
    with written_whole(path) as file:
        cmc_figure(result, title).savefig(file, format="png", dpi=120)


def cmc_figure(result: RankResult, title: str = "") -> Figure:
    """Plot the share of queries with a match in the first k, against k, with the mAP as a line."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ranks = np.arange(1, len(result.cmc) + 1)
    axes.plot(ranks, 100 * result.cmc, marker=".", label="CMC")
    axes.axhline(100 * result.mAP, color="0.5", linestyle="--", label="mAP")
    axes.set(
        title=plain_text(title), xlabel="rank", ylabel="%", ylim=(0, 102), xlim=(0, ranks[-1] + 1)
    )
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
