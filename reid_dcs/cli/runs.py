"""The commands ``train``, ``search`` and ``eval``."""

from collections.abc import Sequence
from typing import Any

from reid_dcs.cli.parsers import SettingsParser
from reid_dcs.config import EvaluateRun, SearchRun, TrainRun

Layer = dict[str, Any]


def train(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        from reid_dcs import runs

        runs.train(layer)

    description = "Train a re-identification network and evaluate it."
    SettingsParser("reid-dcs train", description, TrainRun).run(arguments, action)


def search(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        from reid_dcs import runs

        runs.search(layer)

    description = "Search a network's channels (Algorithm 1), train the result and evaluate it."
    SettingsParser("reid-dcs search", description, SearchRun).run(arguments, action)


def evaluate(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        from reid_dcs import runs

        runs.evaluate(layer)

    SettingsParser(
        "reid-dcs eval",
        "Evaluate trained weights.",
        EvaluateRun,
        flags=[
            ("--weights", "eval.weights", "checkpoint, or name of the model zoo"),
            ("--ranks", "eval.ranks", "length of the ranked lists in OUTPUT_DIR/ranks.png, .csv"),
        ],
        switches=[("--report", "eval.report", "write a page of results, OUTPUT_DIR/report.html")],
    ).run(arguments, action)
