#!/usr/bin/env python
"""Check a data set, or decode it once into files that data.mapped=true feeds from.

python tools/prepare_data.py check market1501 --root DIR
python tools/prepare_data.py store market1501 --root DIR data.height=256 data.width=128

A check ends with status 0 if all is well and 1 if something was found.
"""

import sys
from typing import Any

from reid_dcs.cli import Command
from reid_dcs.config import compose
from reid_dcs.data.check import check_dataset
from reid_dcs.data.datasets import DATASETS
from reid_dcs.data.store import write_stores


def prepare(settings: dict[str, Any], action: str, name: str) -> None:
    default_size = {"data": {"height": 256, "width": 128}}
    data = compose(default_size, settings, {"data": {"name": name}}).data
    if action == "store":
        for file in write_stores(name, data.root, data.options, data.height, data.width):
            print(file)
        return
    findings = check_dataset(name, data.root, data.options)
    print("\n".join(map(str, findings)) or f"{name}: nothing wrong")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    words = [
        ("action", ("check", "store"), "look at every file, or decode all into files"),
        ("name", None, ", ".join(DATASETS)),
    ]
    Command("Check a data set, or decode it once.", words=words).run(prepare)
