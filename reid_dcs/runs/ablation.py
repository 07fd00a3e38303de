"""Run the rows of a table with several seeds; print it next to the paper's figures."""

import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_dcs.config import TrainRun, compose, read_config, to_layer, upgraded
from reid_dcs.config.settings import AblationConfig
from reid_dcs.data.datasets import DATASETS
from reid_dcs.errors import InputError
from reid_dcs.files import read_text, write_json, written_whole
from reid_dcs.jobs.output import OutputFolder
from reid_dcs.runtime import distributed
from reid_dcs.weights.safetensors import without_local_keys

Metrics = dict[str, Any]

TABLES = ("table.json", "table.md")
OF_ALL_ROWS = {
    "seed": "ablation.seeds are those of all rows",
    "output_dir": "it is <output_dir>/<row>/seed-<seed>",
    "resume": "interrupted runs of a table are always resumed",
    "ablation": "a row is one run",
}
"""Settings that a row cannot have, and why."""


def ablate(
    config: TrainRun, run: Callable[[Any], Metrics], check: Callable[[Any], None]
) -> dict[str, list[Metrics]]:
    """Run every row of ``config.ablation`` with every seed, and print the table.

    Each run writes to ``<output_dir>/<row>/seed-<seed>``. Runs that are finished there with the
    same settings are not repeated; interrupted ones are resumed. ``table.md`` and ``table.json``
    are updated after each run.

    Args:
        config: settings that all rows share.
        run: function that carries out a run, such as :func:`reid_dcs.runs.train`.
        check: function that raises InputError if the settings of a run cannot work; called for
            every row before the first run.

    Returns:
        the metrics of each seed, by row.

    Raises:
        InputError: invalid settings of a row, before any run.
    """
    output, rows = Path(config.output_dir), config.ablation.rows
    seeds = config.ablation.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"ablation.seeds must be one or more different numbers, not {seeds}")
    configs = {
        (row, seed): _row_config(config, row, seed, output / row / f"seed-{seed}")
        for seed in seeds
        for row in rows
    }
    for row in rows:
        check(configs[row, seeds[0]])  # seeds differ in nothing else
    figures = {
        row: rows[row]["paper"][row_config.data.name]
        for (row, _), row_config in configs.items()
        if row_config.data.name in rows[row].get("paper", {})
    }
    table: dict[str, list[Metrics]] = {row: [] for row in rows}
    begun = any(Path(each.output_dir).is_dir() for each in configs.values())
    with _tables(output) as folder:
        if folder:
            folder.check(TABLES, resumed=begun)
        for (row, seed), row_config in configs.items():
            if folder:
                print(f"\n== {row}, seed {seed}", flush=True)
            table[row].append(_finished(row_config) or run(row_config))
            if folder:
                folder.open(TABLES, resumed=begun)
                write_json(output / "table.json", table)
                with written_whole(output / "table.md") as file:
                    file.write(as_markdown(table, figures).encode())
        if folder:
            print(f"\n{as_markdown(table, figures)}\nwritten to {output}/table.md")
    return table


def check_no_seeds(ablation: AblationConfig) -> None:
    """Check that a run without rows does not name their seeds.

    Raises:
        InputError: it does, and they would be ignored.
    """
    if ablation.seeds != AblationConfig().seeds:
        raise InputError(
            f"ablation.seeds={ablation.seeds} would be ignored without ablation.rows: set seed, or "
            "name rows"
        )


@contextmanager
def _tables(output: Path) -> Iterator[OutputFolder | None]:
    """The folder of the tables; None if torchrun started this process and its rank is not 0."""
    if distributed.is_launched() and os.environ["RANK"] != "0":  # each run has a group of its own
        yield None
        return
    with OutputFolder(output) as folder:
        yield folder


def as_markdown(table: dict[str, list[Metrics]], figures: Mapping[str, Sequence[float]]) -> str:
    """Format cost, mAP and rank-1 (per cent): means and standard deviations over the seeds.

    Args:
        table: the metrics of each seed, by row.
        figures: the paper's mAP and rank-1 on the data set of the row, as far as it has them.
    """
    lines = [
        "| row | seeds | params, M | multiply-adds, G | mAP | R1 | the paper's mAP | R1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, seeds in table.items():
        if seeds:
            costs = [
                _mean_std([metrics[key] / unit for metrics in seeds], digits)
                for key, unit, digits in (("params", 1e6, 2), ("total_macs", 1e9, 4))
            ]
            scores = [
                _mean_std([100 * metrics[key] for metrics in seeds], 1) for key in ("mAP", "rank1")
            ]
            paper = [str(value) for value in figures.get(row, ("-", "-"))]
            lines.append(f"| {' | '.join([row, str(len(seeds)), *costs, *scores, *paper])} |")
    return "\n".join(lines) + "\n"


def _mean_std(values: list[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if min(values) == max(values):
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _row_config(config: TrainRun, row: str, seed: int, output: Path) -> TrainRun:
    """Settings of a row's run, with valid names and types."""
    settings = config.ablation.rows[row]
    if not isinstance(settings, dict):
        raise InputError(f"configuration: ablation.rows.{row} must hold settings, not {settings!r}")
    if Path(row).name != row or row in ("", "..", *TABLES) or "|" in row:
        raise InputError(
            f"configuration: ablation.rows: {row!r} must be the name of a folder, without / and |, "
            f"and not {' or '.join(TABLES)}"
        )
    for key in settings.keys() & OF_ALL_ROWS.keys():
        raise InputError(f"configuration: ablation.rows.{row} has {key}: {OF_ALL_ROWS[key]}")
    _check_figures(row, settings.get("paper", {}))
    changes = {key: value for key, value in settings.items() if key != "paper"}
    shared = to_layer(config) | {"ablation": {}, "output_dir": str(output), "resume": "auto"}
    return compose(type(config), shared, changes, {"seed": seed})


def _check_figures(row: str, figures: Any) -> None:
    """Check that the paper's figures of a row are mAP and rank-1 by data set."""
    name = f"configuration: ablation.rows.{row}.paper"
    if not isinstance(figures, dict):
        raise InputError(
            f"{name} must hold the paper's figures by data set, such as "
            f"{{market1501: [84.5, 93.9]}}, not {figures!r}"
        )
    for dataset, pair in figures.items():
        numbers = isinstance(pair, list) and all(isinstance(value, int | float) for value in pair)
        if dataset not in DATASETS:
            raise InputError(f"{name}: unknown data set {dataset!r}; known: {', '.join(DATASETS)}")
        if not numbers or len(pair) != 2:
            raise InputError(f"{name}.{dataset} must be [mAP, rank-1] in per cent, not {pair!r}")


def _finished(config: TrainRun) -> Metrics | None:
    """Metrics of a run that finished with these settings, on any machine; None if there is none."""
    output = Path(config.output_dir)
    if not (output / "metrics.json").exists() or not (output / "config.yaml").exists():
        return None
    stored, now = read_config(output / "config.yaml"), to_layer(config)
    if ("search" in stored) != ("search" in now):  # a training is no search, whatever its settings
        return None
    if without_local_keys(upgraded(stored, type(config))) != without_local_keys(now):
        return None
    try:
        metrics = json.loads(read_text(output / "metrics.json"))
    except ValueError:  # damaged: the run says its metrics again
        return None
    return None if "weights" in metrics else metrics  # of an evaluation, perhaps by other rules
