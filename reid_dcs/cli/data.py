"""The command ``data``."""

import sys
from collections.abc import Sequence
from typing import Any

from reid_dcs.cli.parsers import SettingsParser
from reid_dcs.config import PrepareData, compose


def data(arguments: Sequence[str]) -> None:
    positional: list[dict[str, Any]] = [
        {
            "dest": "action",
            "choices": ("check", "store"),
            "help": "check every file, or write decoded images for data.mapped=true",
        },
        {"dest": "data.name", "metavar": "name", "help": "data set, such as market1501 or folder"},
    ]
    description = "Check a data set (exit status 1 if it has faults), or store it decoded."
    parser = SettingsParser("reid-dcs data", description, PrepareData, positional=positional)
    parser.run(arguments, _prepare)


def _prepare(layer: dict[str, Any], action: str) -> None:
    from reid_dcs.data.check import inspect_dataset
    from reid_dcs.data.write_stores import write_stores

    images = compose(PrepareData, layer).data
    if action == "store":
        for file in write_stores(
            images.name, images.root, images.options, images.height, images.width
        ):
            print(file)
        return
    report = inspect_dataset(images.name, images.root, images.options)
    if not report.findings:
        print(f"{images.name}: no faults found")
    print(report)
    sys.exit(1 if report.findings else 0)
