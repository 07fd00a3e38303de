"""The rows of a table: one recipe, several networks, several seeds, beside the paper's figures."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid_dcs.config import Config, compose, read_config, to_layer
from reid_dcs.errors import InputError
from reid_dcs.files import write_json, written_whole
from reid_dcs.models import build_model

Metrics = dict[str, Any]


def ablate(config: Config, run: Callable[[Config], Metrics]) -> dict[str, list[Metrics]]:
    """Run every row of ``config.ablation`` with every seed, and print the table.

    A row's run lies in ``<output_dir>/<row>/seed-<seed>``; one that is finished there with the same
    settings is not run again, and one that was stopped goes on. ``table.md`` and ``table.json``
    hold what there is so far after each run.

    Args:
        config: what the rows share.
        run: a search or a training.

    Returns:
        by row, the metrics of each seed.

    Raises:
        InputError: a row with wrong settings, found before any run.
    """
    output = Path(config.output_dir)
    runs = {
        (row, seed): _config_of(config, row, seed, output / row / f"seed-{seed}")
        for seed in config.ablation.seeds
        for row in config.ablation.rows
    }
    table: dict[str, list[Metrics]] = {row: [] for row in config.ablation.rows}
    for (row, seed), own in runs.items():
        print(f"\n== {row}, seed {seed}", flush=True)
        table[row].append(_finished(own) or run(own))
        write_json(output / "table.json", table)
        with written_whole(output / "table.md") as file:
            file.write(as_markdown(table, config.ablation.rows).encode())
    print(f"\n{as_markdown(table, config.ablation.rows)}\nwritten to {output}/table.md")
    return table


def as_markdown(table: dict[str, list[Metrics]], rows: dict[str, Any]) -> str:
    """Means and deviations over seeds: cost; mAP and rank-1, per cent, beside the paper's."""
    lines = [
        "| row | seeds | params, M | multiply-adds, G | mAP | R1 | the paper's mAP | R1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, found in table.items():
        if found:
            costs = [
                _spread([own[key] / unit for own in found], digits)
                for key, unit, digits in (("params", 1e6, 2), ("total_macs", 1e9, 4))
            ]
            figures = [_spread([100 * own[key] for own in found], 1) for key in ("mAP", "rank1")]
            paper = [str(value) for value in rows[row].get("paper") or ("-", "-")]
            lines.append(f"| {' | '.join([row, str(len(found)), *costs, *figures, *paper])} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if min(values) == max(values):
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _config_of(config: Config, row: str, seed: int, output: Path) -> Config:
    own = config.ablation.rows[row]
    if not isinstance(own, dict):
        raise InputError(f"configuration: ablation.rows.{row} must hold settings, not {own!r}")
    settings = {key: value for key, value in own.items() if key != "paper"}
    common = to_layer(config) | {"ablation": {}, "output_dir": str(output), "resume": "auto"}
    config = compose(common, settings, {"seed": seed})
    build_model(config.model.name, num_classes=1, **config.model.options)
    return config


def _finished(config: Config) -> Metrics | None:
    """The metrics of a run that was done already, with these settings."""
    output = Path(config.output_dir)
    if not (output / "metrics.json").exists() or not (output / "config.yaml").exists():
        return None
    if read_config(output / "config.yaml") != to_layer(config):
        return None
    return json.loads((output / "metrics.json").read_text())
