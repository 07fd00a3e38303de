"""The command ``detect``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reid_dcs.cli.parsers import Parser, SettingsParser, choose, file_or_folder
from reid_dcs.runtime.imports import extra
from reid_dcs.tasks.detection.settings import DetectEvaluateRun, DetectSearchRun, DetectTrainRun

Layer = dict[str, Any]
DATASETS = ("coco", "scenes")
DATA = (
    ("--dataset", "data.name", "coco, or scenes, which are generated"),
    (
        "--root",
        "data.root",
        "folder of annotations and images; of scenes, the one that holds it",
    ),
)


def detect(arguments: Sequence[str]) -> None:
    """Run the action that the first argument names."""
    description = "Object detection: Cascade Mask R-CNN with attention in its trunk."
    choices = {name: text for name, (_, text) in ACTIONS.items()}
    chosen = choose("reid-dcs detect", description, "action", choices, arguments)
    ACTIONS[chosen][0](arguments[1:])


def _train(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        _runs().train(layer)

    description = "Train a detector and evaluate it."
    parser = SettingsParser("reid-dcs detect train", description, DetectTrainRun, DATA)
    parser.run(arguments, action)


def _search(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        _runs().search(layer)

    description = "Search a detector's channels (Algorithm 1), train the result and evaluate it."
    parser = SettingsParser("reid-dcs detect search", description, DetectSearchRun, DATA)
    parser.run(arguments, action)


def _evaluate(arguments: Sequence[str]) -> None:
    def action(layer: Layer) -> None:
        _runs().evaluate(layer)

    SettingsParser(
        "reid-dcs detect eval",
        "Evaluate a trained detector.",
        DetectEvaluateRun,
        flags=[
            *DATA,
            ("--weights", "eval.weights", "checkpoint"),
            ("--split", "eval.split", "train or val"),
        ],
        switches=[("--report", "eval.report", "write a page of results, OUTPUT_DIR/report.html")],
    ).run(arguments, action)


def _predict(arguments: Sequence[str]) -> None:
    parser = Parser(
        "reid-dcs detect predict",
        "Detect objects in images: COCO's results, pictures, and crops of people for Re-ID.",
    )
    parser.add_argument("--weights", required=True, type=file_or_folder, help="checkpoint")
    parser.add_images()
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="lowest score of a detection; default 0.5"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_debug()
    given = vars(parser.parse_args(arguments))
    del given["debug"]
    extra("pycocotools", "detection")
    from reid_dcs.tasks.detection.predict import predict

    predict(**given)


def _check(arguments: Sequence[str]) -> None:
    parser = Parser(
        "reid-dcs detect check",
        "Check annotations and images in COCO's layout; exit status 1 if training would refuse "
        "them.",
    )
    parser.add_argument("--root", required=True, type=file_or_folder, metavar="DIR")
    parser.add_argument("--dataset", default="coco", choices=DATASETS)
    parser.add_debug()
    given: argparse.Namespace = parser.parse_args(arguments)
    extra("pycocotools", "detection")
    from reid_dcs.tasks.detection.check import check

    report = check(given.dataset, Path(given.root))
    print(report)
    sys.exit(0 if report.usable else 1)


def _runs() -> Any:
    extra("pycocotools", "detection")
    from reid_dcs.tasks.detection import runs

    return runs


ACTIONS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "train": (_train, "train a detector and evaluate it"),
    "search": (_search, "search a detector's channels, train and evaluate it"),
    "eval": (_evaluate, "evaluate a trained detector"),
    "predict": (_predict, "detect objects in images"),
    "check": (_check, "check annotations and images"),
}
"""The function that takes an action's arguments, and a line of help."""
