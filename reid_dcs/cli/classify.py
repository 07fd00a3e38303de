"""The command ``classify``."""

from collections.abc import Sequence
from typing import Any

from reid_dcs.cli.parsers import SettingsParser, choose

Layer = dict[str, Any]
ACTIONS = {
    "train": "train an image classification network and evaluate it",
    "search": "search a network's channels or backbone, train the result and evaluate it",
    "eval": "evaluate trained weights",
}


def classify(arguments: Sequence[str]) -> None:
    description = (
        "Image classification on the backbones of re-identification (Section 3.3 of the paper)."
    )
    action = choose("reid-dcs classify", description, "action", ACTIONS, arguments)
    from reid_dcs.tasks.classification.settings import COMMANDS

    flags, switches = [("--root", "data.root", "folder that holds the folders train and val")], []
    if action == "eval":
        flags += [("--weights", "eval.weights", "checkpoint, or name of the model zoo")]
        switches = [("--report", "eval.report", "write a page of results, OUTPUT_DIR/report.html")]

    def run(layer: Layer) -> None:
        from reid_dcs.tasks.classification import runs

        actions = {"train": runs.train, "search": runs.search, "eval": runs.evaluate}
        actions[action](layer)

    SettingsParser(
        f"reid-dcs classify {action}",
        f"{ACTIONS[action].capitalize()}.",
        COMMANDS[f"classify {action}"],
        flags=flags,
        switches=switches,
    ).run(arguments[1:], run)
