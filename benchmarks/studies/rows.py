"""The rows of an ablation: a table of figures with paired differences, and their curves.

    python benchmarks/studies/rows.py FOLDER [--against ROW ...] [--curves FILE.png]

FOLDER is the output folder of `ablation.rows`: `ROW/seed-S/`, finished or not. Figures are means
over seeds, in per cent. Differences to a row of `--against` are paired by seed, with their standard
error: training from another seed moves all rows by more than most differences. `selected` and
`saturated` are means over blocks of windows.json: the share of the channels that a position
selects, and the fraction of the positions where that is below 5 % or above 95 %. `worth`, from
worth.json (`reid-dcs channels worth --output-dir ROW/seed-S`), is the mAP that all channels in
place of the windows would lose. Hours are those of the runs, search included.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

SCORES = ("mAP", "rank1", "mINP")


class RunFolder(NamedTuple):
    """What a run wrote."""

    row: str
    seed: int
    metrics: dict[str, Any]
    """Empty while the run is not finished."""
    environment: dict[str, Any]
    windows: dict[str, Any]
    worth: dict[str, Any]
    search: list[dict[str, float]]
    """History of the search, an entry an epoch."""
    training: list[dict[str, float]]

    @property
    def hours(self) -> float:
        return sum(entry["seconds"] for entry in self.search + self.training) / 3600

    @property
    def selected(self) -> float:
        """Mean share of the channels that a position selects, over blocks."""
        blocks = self.windows.get("blocks", {}).values()
        return statistics.mean(block["selected"]["mean"] for block in blocks)

    @property
    def saturated(self) -> float:
        """Mean fraction of positions that select next to nothing or next to everything."""
        blocks = self.windows.get("blocks", {}).values()
        return statistics.mean(block["saturated"]["selected"] for block in blocks)

    @property
    def lost_with_all(self) -> float:
        """What the mAP loses when all channels are selected."""
        rows = self.worth["rows"]
        return rows["as_trained"]["mAP"] - rows["all_channels"]["mAP"]


def read_run(folder: Path) -> RunFolder:
    """Read ``ROW/seed-S``."""

    def content(name: str) -> dict[str, Any]:
        path = folder / name
        return json.loads(path.read_text()) if path.exists() else {}

    def history(path: Path) -> list[dict[str, float]]:
        return torch.load(path, weights_only=True)["history"] if path.exists() else []

    return RunFolder(
        folder.parent.name,
        int(folder.name.removeprefix("seed-")),
        content("metrics.json"),
        content("environment.json"),
        content("windows.json"),
        content("worth.json"),
        history(folder / "search/checkpoint.pt"),
        history(folder / "checkpoint.pt"),
    )


def table(runs: list[RunFolder], against: list[str]) -> Iterator[str]:
    """Lines of a table in Markdown; rows in the order in which they were run."""
    finished = [run for run in runs if run.metrics]
    titles = ["row", "seeds", "commit", "hours", "mAP", "R1", "mINP"]
    titles += [f"mAP less that of {row}" for row in against] + ["selected", "saturated", "worth"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in dict.fromkeys(run.row for run in finished):
        group = [run for run in finished if run.row == row]
        commits = {str(run.environment.get("commit") or "-")[:7] for run in group}
        cells = [row, str(len(group)), ", ".join(sorted(commits))]
        cells.append(f"{statistics.mean(run.hours for run in group):.2f}")
        cells += [spread([100 * run.metrics[name] for run in group]) for name in SCORES]
        cells += [difference(group, [r for r in finished if r.row == other]) for other in against]
        windowed = [run for run in group if run.windows.get("blocks")]
        cells.append(percent([run.selected for run in windowed]))
        cells.append(percent([run.saturated for run in windowed]))
        cells.append(percent([run.lost_with_all for run in group if run.worth]))
        yield f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def percent(shares: list[float]) -> str:
    return f"{100 * statistics.mean(shares):.1f}" if shares else "-"


def difference(group: list[RunFolder], reference: list[RunFolder]) -> str:
    """Mean difference in mAP over the seeds that both have, and its standard error."""
    by_seed = {run.seed: run.metrics["mAP"] for run in reference}
    pairs = [100 * (run.metrics["mAP"] - by_seed[run.seed]) for run in group if run.seed in by_seed]
    if not pairs or group == reference:
        return "-"
    if len(pairs) == 1:
        return f"{pairs[0]:+.1f}"
    return f"{statistics.mean(pairs):+.1f} ± {statistics.stdev(pairs) / math.sqrt(len(pairs)):.1f}"


def curves(runs: list[RunFolder], path: Path) -> None:
    """The mAP and the loss of every run by epoch of the weights, the search's counted."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    scores, losses = figure.subplots(1, 2)
    rows = list(dict.fromkeys(run.row for run in runs))
    lines = ("-", "--", ":", "-.")
    for run in runs:
        style = {"color": f"C{rows.index(run.row)}", "linestyle": lines[run.seed % len(lines) - 1]}
        history = run.search + run.training
        points = {number: entry for number, entry in enumerate(history, 1)}
        name = f"{run.row}, seed {run.seed}"
        scores.plot(*series(points, "mAP", 100), marker=".", label=name, **style)
        losses.plot(*series(points, "identity", 1), label=name, **style)
    scores.set(xlabel="epoch", ylabel="mAP, %")
    losses.set(xlabel="epoch", ylabel="identity loss")
    scores.legend(fontsize="small")
    for axes in (scores, losses):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def series(points: Mapping[int, Mapping[str, float]], name: str, factor: float) -> tuple:
    """Epochs and values where a history has them."""
    found = {number: factor * entry[name] for number, entry in points.items() if name in entry}
    return list(found), list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", nargs="+", default=[], metavar="ROW")
    parser.add_argument("--curves", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    folders = sorted(options.folder.glob("*/seed-*/"), key=lambda folder: folder.stat().st_ctime)
    runs = [read_run(folder) for folder in folders]
    for line in table(runs, options.against):
        print(line)
    if options.curves:
        curves(runs, options.curves)


if __name__ == "__main__":
    main()
