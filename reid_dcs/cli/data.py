"""The command ``data``."""

import sys
from collections.abc import Sequence
from typing import Any

from reid_dcs.cli.parsers import SettingsParser
from reid_dcs.config import PrepareData, compose


def data(arguments: Sequence[str]) -> None:
    words: list[dict[str, Any]] = [
        {
            "dest": "action",
            "choices": ("check", "store"),
            "help": "look at every file, or decode all into files that data.mapped=true reads",
        },
        {"dest": "data.name", "metavar": "name", "help": "such as market1501 or folder"},
    ]
    description = (
        "Check a data set, or decode it once. The status of a check is 1 if it finds a fault."
    )
    SettingsParser("reid-dcs data", description, PrepareData, words=words).run(arguments, _prepare)


def _prepare(layer: dict[str, Any], action: str) -> None:
    from reid_dcs.data.check import check_dataset
    from reid_dcs.data.store import write_stores

    images = compose(PrepareData, layer).data
    if action == "store":
        for file in write_stores(
            images.name, images.root, images.options, images.height, images.width
        ):
            print(file)
        return
    findings = check_dataset(images.name, images.root, images.options)
    print("\n".join(map(str, findings)) or f"{images.name}: nothing wrong")
    sys.exit(1 if findings else 0)
