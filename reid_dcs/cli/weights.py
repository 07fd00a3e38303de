"""The commands ``zoo`` and ``export``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reid_dcs.cli.parsers import Parser, file_or_folder
from reid_dcs.errors import InputError


def zoo(arguments: Sequence[str]) -> None:
    parser = Parser(
        "reid-dcs zoo",
        "Trained weights by name. verify exits with status 1 if a file is damaged.",
    )
    parser.add_argument("action", choices=("list", "download", "verify"))
    parser.add_argument("name", nargs="?", help="name of the weights to download")
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        type=file_or_folder,
        help="folder to use instead of the cache (REID_DCS_CACHE)",
    )
    parser.add_debug()
    given = parser.parse_args(arguments)
    if (given.action == "download") != (given.name is not None):
        parser.error("download takes one NAME, list and verify take none")
    if given.action == "list" and given.output_dir:
        parser.error("--output-dir would be ignored: list is the same for every folder")
    action = {"list": _list, "download": _download, "verify": _verify}[given.action]
    action(given)


def _list(_: argparse.Namespace) -> None:
    """Print a line per file: metrics in per cent, with a star if not measured here."""
    from reid_dcs.zoo import cache_folder, read_detectors, read_manifest

    print(
        f"{'name':30} {'task':14} {'input':>8} {'measured on':>12} {'mAP':>6} {'rank1':>6}  license"
    )
    for name, entry in read_manifest().items():
        size = f"{entry.preprocessing.height}x{entry.preprocessing.width}"
        on, star = entry.evaluated_on or entry.trained_on, "*" if entry.stated_by else " "
        shown = [entry.metrics[key] for key in ("mAP", "rank1") if key in entry.metrics]
        if "top1" in entry.metrics:  # of an image classification network
            shown = [entry.metrics["top1"], entry.metrics["top5"]]
        metrics = " ".join(f"{value:6.1%}" for value in shown)
        print(f"{name:30} {entry.task:14} {size:>8} {on:>12} {metrics}{star} {entry.licence}")
    for name, detector in read_detectors().items():
        size = detector.input.partition(",")[0]
        print(
            f"{name:30} {'detection':14} {size:>8} {'-':>12} {'-':>6} {'-':>6}  {detector.licence}"
        )
    try:
        cache = str(cache_folder())
    except InputError as error:
        cache = str(error)
    print("\nof image classification networks, top-1 and top-5 in the place of mAP and rank1")
    print(f"* as their authors state, not measured here\ncache: {cache}")


def _download(given: argparse.Namespace) -> None:
    from reid_dcs.zoo import download, find_entry, read_detectors

    entry = read_detectors().get(given.name) or find_entry(given.name)
    print(download(given.name, entry, _folder(given.output_dir)))


def _verify(given: argparse.Namespace) -> None:
    from reid_dcs.zoo import verify

    found = verify(_folder(given.output_dir))
    for path, wrong in found.items():
        print(f"{path} {wrong or 'is intact'}")
    sys.exit(1 if any(found.values()) else 0)


def _folder(given: str | None) -> Path | None:
    return None if given is None else Path(given)


def export(arguments: Sequence[str]) -> None:
    parser = Parser(
        "reid-dcs export",
        "Export a trained network to safetensors, or to ONNX after a comparison with PyTorch.",
    )
    parser.add_argument(
        "--weights",
        required=True,
        type=file_or_folder,
        help="checkpoint, or name of the model zoo",
    )
    parser.add_argument("--model", help="network, if the weights do not name it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output", type=file_or_folder, metavar="FILE", help="ends in .onnx or .safetensors"
    )
    where.add_argument(
        "--output-dir",
        type=file_or_folder,
        metavar="DIR",
        help="folder for <model>.onnx; by default the current one",
    )
    parser.add_argument(
        "--images",
        type=file_or_folder,
        metavar="DIR",
        help="images to compare the graph with PyTorch on",
    )
    parser.add_argument(
        "--preprocess",
        action="store_true",
        help="the graph takes uint8 (B, H, W, 3), RGB, and normalizes it",
    )
    parser.add_argument(
        "--for",
        dest="form",
        choices=("onnx", "boxmot", "ultralytics", "openvino"),
        default="onnx",
        help="program that runs the graph; docs/export.md says what each is fed",
    )
    parser.add_argument("--height", type=_pixels, help="input size; by default the training's")
    parser.add_argument("--width", type=_pixels)
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="written with its loss of mAP on --dataset, or on --images with labels in their "
        "names; int8 is calibrated on --images",
    )
    parser.add_argument("--dataset", help="data set to measure the loss on")
    parser.add_argument(
        "--root",
        type=file_or_folder,
        help="folder that contains the data set; by default datasets",
    )
    parser.add_debug()
    given = parser.parse_args(arguments)
    if given.output and not Path(given.output).suffix:
        parser.error(f"--output {given.output}: a file ends in .onnx or .safetensors")
    _export(given)


def _pixels(text: str) -> int:
    value = int(text)
    if not 8 <= value <= 4096:
        raise argparse.ArgumentTypeError(f"{text} is not from 8 to 4096")
    return value


_pixels.__name__ = "pixels"  # argparse names it in its errors


def _export(given: argparse.Namespace) -> None:
    from reid_dcs.inference.export import Target, export

    output = Path(given.output or given.output_dir or ".")
    path, difference = export(
        given.weights,
        output,
        given.model,
        _folder(given.images),
        target=Target(
            given.form,
            given.preprocess,
            given.height,
            given.width,
            given.precision,
            given.dataset,
            given.root,
        ),
        is_folder=not given.output,
    )
    print(f"{path}: {difference}")
