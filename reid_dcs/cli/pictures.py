"""The commands ``gradcam`` and ``channels``."""

import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from reid_dcs.cli.parsers import PictureParser, SettingsParser, file_or_folder
from reid_dcs.config import WorthRun, has_setting
from reid_dcs.errors import InputError

STDOUT = "-"  # in the place of a file


def gradcam(arguments: Sequence[str]) -> None:
    parser = PictureParser(
        "reid-dcs gradcam", "Grad-CAM: the image regions that networks recognize a person by."
    )
    parser.add_argument(
        "--identity",
        "--class",
        dest="identity",
        type=int,
        help="training label, or index of a class, to explain; by default the predicted one",
    )
    parser.add_argument(
        "--pair", type=file_or_folder, metavar="IMAGE", help="explain the similarity to this image"
    )
    parser.add_argument(
        "--layer", default="", help="name of a module; by default the last one that gives a map"
    )

    def action(**given: Any) -> None:
        from reid_dcs.visual import compare

        compare.gradcam(**given)

    parser.run(arguments, action)


def channels(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["worth"]:
        return worth(arguments[1:])
    parser = PictureParser(
        "reid-dcs channels",
        "Affinities of query positions, or channel windows of all positions.\n"
        "reid-dcs channels worth --help describes evaluations with other windows.",
    )
    parser.add_argument("what", choices=("affinity", "windows"))
    parser.add_argument(
        "--at", type=_pixel, action="append", metavar="X,Y", help="query position, in pixels"
    )
    parser.add_argument(
        "--grid",
        type=_cells,
        metavar="ROWSxCOLUMNS",
        help="grid of query positions, at most 64 in all; default 4x2",
    )

    def action(what: str, at: list | None, grid: tuple | None, **given: Any) -> None:
        if what == "windows" and (at or grid):
            parser.error("--at and --grid are for affinity")
        from reid_dcs.visual import compare

        if what == "windows":
            compare.windows(**given)
        else:
            compare.affinity(**given, at=at or (), grid=grid or compare.GRID)

    parser.run(arguments, action)


def worth(arguments: Sequence[str]) -> None:
    parser = SettingsParser(
        "reid-dcs channels worth",
        "Evaluate trained weights with their windows replaced: what is the selection worth?",
        WorthRun,
        flags=[("--weights", "eval.weights", "checkpoint, or name of the model zoo")],
        options={
            "--json": {
                "dest": "file",
                "nargs": "?",
                "const": STDOUT,
                "type": file_or_folder,
                "metavar": "FILE",
                "help": "write the result to FILE; without FILE print it instead of the table",
            }
        },
    )

    def action(layer: dict[str, Any], file: str | None) -> None:
        from reid_dcs import runs

        key, equals, _ = (file or "").partition("=")
        if equals and has_setting(WorthRun, key):
            raise InputError(f"--json takes a file, not {file}: put key=value before --json")
        if file != STDOUT:
            runs.worth(layer, file)
            return
        with contextlib.redirect_stdout(sys.stderr):
            found = runs.worth(layer)
        print(json.dumps(found, indent=2))

    parser.run(arguments, action)


def _pixel(text: str) -> tuple[int, int]:
    x, y = map(int, text.split(","))
    return x, y


def _cells(text: str) -> tuple[int, int]:
    rows, columns = map(int, text.split("x"))
    if rows < 1 or columns < 1:
        raise ValueError
    return rows, columns


_pixel.__name__, _cells.__name__ = "pixel", "cells"  # argparse names them in its errors
