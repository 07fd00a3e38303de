#!/usr/bin/env python
"""Trained weights by name: list them, download them, verify the downloaded files.

python tools/model_zoo.py list
python tools/model_zoo.py download mobilenetv2_dcs_synthetic
python tools/model_zoo.py verify

The status of verify is 0 if every file is intact, and 1 if not.
"""

import argparse
import sys
from pathlib import Path

from reid_dcs import zoo
from reid_dcs.cli import Parser


def show(_: argparse.Namespace) -> None:
    """A line for each: metrics in per cent, a star where their authors state them."""
    print(f"{'name':30} {'input':>8} {'measured on':>12} {'mAP':>6} {'rank1':>6}  licence")
    for name, entry in zoo.read_manifest().items():
        size = f"{entry.preprocessing.height}x{entry.preprocessing.width}"
        on, star = entry.evaluated_on or entry.trained_on, "*" if entry.stated_by else " "
        metrics = " ".join(f"{entry.metrics[key]:6.1%}" for key in ("mAP", "rank1"))
        print(f"{name:30} {size:>8} {on:>12} {metrics}{star} {entry.licence}")
    print(f"\n* as their authors state, not measured here\ncache: {zoo.cache_folder()}")


def download(given: argparse.Namespace) -> None:
    print(zoo.download(given.name, zoo.find_entry(given.name), given.output_dir))


def check(given: argparse.Namespace) -> None:
    found = zoo.verify(given.output_dir)
    for path, wrong in found.items():
        print(f"{path} {wrong or 'is intact'}")
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    parser = Parser("Trained weights by name.")
    parser.add_argument("action", choices=("list", "download", "verify"))
    parser.add_argument("name", nargs="?", help="of the weights to download")
    parser.add_argument(
        "--output-dir", metavar="DIR", type=Path, help="in place of the cache (REID_DCS_CACHE)"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    given = parser.parse_args()
    if (given.action == "download") != (given.name is not None):
        parser.error("download takes one NAME, list and verify take none")
    action = {"list": show, "download": download, "verify": check}[given.action]
    parser.carry_out(lambda: action(given), given.debug)
