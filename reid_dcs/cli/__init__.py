"""The command ``reid-dcs``. torch is imported only after the arguments are parsed."""

import sys
from collections.abc import Sequence
from pkgutil import resolve_name

from reid_dcs.cli.process import command

COMMANDS = {
    "train": ("reid_dcs.cli.runs:train", "train a network and evaluate it"),
    "search": ("reid_dcs.cli.runs:search", "search a network's channels, train and evaluate it"),
    "eval": ("reid_dcs.cli.runs:evaluate", "evaluate trained weights"),
    "classify": ("reid_dcs.cli.classify:classify", "classify images: train, search, eval"),
    "detect": (
        "reid_dcs.cli.detection:detect",
        "detect objects: train, search, eval, predict, check",
    ),
    "data": ("reid_dcs.cli.data:data", "check a data set, or store it decoded"),
    "zoo": ("reid_dcs.cli.weights:zoo", "list, download and verify trained weights"),
    "gallery": ("reid_dcs.cli.gallery:gallery", "find people in a collection of pictures"),
    "export": ("reid_dcs.cli.weights:export", "write a network as ONNX or safetensors"),
    "gradcam": ("reid_dcs.cli.pictures:gradcam", "draw Grad-CAM of networks side by side"),
    "channels": ("reid_dcs.cli.pictures:channels", "draw affinities or channel windows"),
}
"""Sub-commands: the function that takes their arguments, and a line of help."""

LONG = ("train", "search", "eval", "classify", "detect")  # their results are files
SHORT = ["detect", "check"]  # its result is what it prints


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a sub-command.

    Args:
        arguments: the command line after ``reid-dcs``; by default that of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    is_long = bool(given) and given[0] in LONG and given[:2] != SHORT
    with command(debug="--debug" in given, keep_running=is_long):
        _run(given)


def _run(given: list[str]) -> None:
    from reid_dcs.cli.parsers import choose

    description = "Person re-identification with Differentiable Channel Selection."
    choices = {name: text for name, (_, text) in COMMANDS.items()}
    chosen = choose("reid-dcs", description, "command", choices, given)
    resolve_name(COMMANDS[chosen][0])(given[1:])
