"""The rows of an ablation: a table of figures with paired differences, and a picture.

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
from collections.abc import Iterator
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


def finish_time(folder: Path) -> float:
    """When a run was finished, in seconds; of one that is not, later than all others."""
    metrics = folder / "metrics.json"
    return metrics.stat().st_mtime if metrics.exists() else math.inf


def table(runs: list[RunFolder], against: list[str]) -> Iterator[str]:
    """Lines of a table in Markdown; rows in the order in which they were finished."""
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
    """Draw the final mAP of every run, and the identity loss and the mAP by epoch.

    The epochs of a search come first. Lines are means over seeds, bands reach from the lowest seed
    to the highest. The mAP by epoch is drawn if a training was evaluated more than twice.
    """
    rows = list(dict.fromkeys(run.row for run in runs))
    evaluations = max(len(by_epoch(run, "mAP")) for run in runs)
    names = ["identity", "mAP"] if evaluations > 2 else ["identity"]
    figure = Figure(figsize=(5 + 5 * len(names), 4), layout="constrained")
    scores, *panels = figure.subplots(1, 1 + len(names))
    for place, row in enumerate(rows):
        group = [run for run in runs if run.row == row]
        last = [100 * run.metrics["mAP"] for run in group if run.metrics]
        scores.scatter(last, [place] * len(last), color=f"C{place}", alpha=0.7)
        if last:
            scores.scatter(statistics.mean(last), place, color=f"C{place}", marker="|", s=400)
        for axes, name in zip(panels, names, strict=True):
            histories = [by_epoch(run, name) for run in group]
            epochs = sorted(set.intersection(*map(set, histories)))
            values = [[history[epoch] for history in histories] for epoch in epochs]
            axes.plot(epochs, [statistics.mean(v) for v in values], color=f"C{place}", label=row)
            lowest, highest = map(min, values), map(max, values)
            axes.fill_between(epochs, [*lowest], [*highest], color=f"C{place}", alpha=0.15)
    scores.set(xlabel="mAP of each seed and their mean, %", yticks=range(len(rows)))
    scores.set_yticklabels(rows)
    scores.invert_yaxis()
    for axes, name in zip(panels, names, strict=True):
        axes.set(xlabel="epoch", ylabel={"identity": "identity loss", "mAP": "mAP, %"}[name])
        axes.legend(fontsize="small")
    for axes in (scores, *panels):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def by_epoch(run: RunFolder, name: str) -> dict[int, float]:
    """A loss, or a metric in per cent, by epoch of the weights."""
    factor = 100 if name == "mAP" else 1
    history = enumerate(run.search + run.training, 1)
    return {epoch: factor * entry[name] for epoch, entry in history if name in entry}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", nargs="+", default=[], metavar="ROW")
    parser.add_argument("--curves", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    folders = sorted(options.folder.glob("*/seed-*/"), key=finish_time)
    runs = [read_run(folder) for folder in folders]
    for line in table(runs, options.against):
        print(line)
    if options.curves:
        curves(runs, options.curves)


if __name__ == "__main__":
    main()
