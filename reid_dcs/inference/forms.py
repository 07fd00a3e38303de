"""Forms of an exported network: what each program that runs it feeds and expects.

=============  ==========================================  ===================================
form           input (B, 3, H, W), RGB                     beside the graph
=============  ==========================================  ===================================
onnx           normalized                                  --
boxmot         normalized, with ImageNet's statistics      ``FILE.onnx.metadata.json``
ultralytics    from 0 to 1; the graph normalizes           ``args`` in the graph's metadata
openvino       normalized                                  ``FILE.bin``, the weights
=============  ==========================================  ===================================
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, write_json, written_whole
from reid_dcs.inference.onnx import Fractions
from reid_dcs.runtime.imports import extra
from reid_dcs.weights import ModelCard
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD

FORMS = ("onnx", "boxmot", "ultralytics", "openvino")
CARD = "reid_dcs"
"""Key of the card in the metadata of a form whose program gives a meaning to other keys."""


def suffix(form: str) -> str:
    return ".xml" if form == "openvino" else ".onnx"


def check_form(form: str, card: ModelCard, preprocess: bool) -> None:
    """Check that a program could run a network correctly.

    Raises:
        InputError: it normalizes with other statistics, or feeds other pixels.
    """
    if preprocess and form != "onnx":
        raise InputError(
            f"--preprocess takes uint8 pixels, which {form} does not feed: leave it out"
        )
    statistics = [*card.preprocessing.mean, *card.preprocessing.std]
    if form == "boxmot" and statistics != [*IMAGENET_MEAN, *IMAGENET_STD]:
        raise InputError(
            "BoxMOT normalizes with ImageNet's mean and std, which these weights were not trained "
            "with: export them --for onnx"
        )


def form_network(form: str, network: nn.Module, card: ModelCard) -> nn.Module:
    """The network with the normalization that a form includes."""
    if form != "ultralytics":
        return network
    return Fractions(network, card.preprocessing.mean, card.preprocessing.std).eval()


def form_inputs(form: str, normalized: Tensor, card: ModelCard) -> Tensor:
    """What a form is fed for normalized images (B, 3, H, W)."""
    if form != "ultralytics":
        return normalized
    mean, std = (
        normalized.new_tensor(values).view(1, 3, 1, 1)
        for values in (card.preprocessing.mean, card.preprocessing.std)
    )
    return (normalized * std + mean).clamp(0, 1)


def form_metadata(form: str, card: ModelCard, normalizes: bool, extras: Any) -> dict[str, str]:
    """Metadata of the graph: the card, where the form's program does not misread it."""
    content = card.to_share() | {"normalizes": normalizes} | extras
    if form != "ultralytics":
        return {key: json.dumps(value) for key, value in content.items()}
    # ultralytics sets every key as an attribute of its backend, and reads args as Python
    args = {"dynamic": True, "nms": False}
    return {CARD: json.dumps(content), "args": repr(args)}


def write_form(form: str, graph: Any, path: Path, card: ModelCard) -> list[Path]:
    """Write a graph and what belongs to it, and create their folder; returns the files.

    Raises:
        InputError: a package is not installed, or a file cannot be written.
    """
    create_folder(path.parent)
    if form == "openvino":
        return _write_openvino(graph, path)
    written = [path]
    if form == "boxmot":
        sidecar = path.with_suffix(f"{path.suffix}.metadata.json")
        write_json(sidecar, boxmot_metadata(card))
        written.append(sidecar)
    with written_whole(path) as file:
        file.write(graph.SerializeToString())
    return written


def boxmot_metadata(card: ModelCard) -> dict[str, Any]:
    """The sidecar of BoxMOT's artifacts: input size, and that crops are resized without padding."""
    size = [card.preprocessing.height, card.preprocessing.width]
    return {
        "schema_version": 1,
        "model_name": card.model,
        "num_classes": card.num_classes,
        "preprocess": "resize",
        "model_kwargs_schema_version": 1,
        "model_kwargs": {"img_size": size},
        "img_size": size,
        "embedding_normalized": False,
    }


def _write_openvino(graph: Any, path: Path) -> list[Path]:
    """Write a graph and its weights; an interruption leaves no graph beside other weights."""
    openvino = extra("openvino", "openvino")
    weights = path.with_suffix(".bin")
    with TemporaryDirectory() as name:
        source, made = Path(name, "graph.onnx"), Path(name, path.name)
        source.write_bytes(graph.SerializeToString())
        model = openvino.convert_model(source)
        openvino.save_model(model, made, compress_to_fp16=False)
        path.unlink(missing_ok=True)
        for target in (weights, path):
            with written_whole(target) as file:
                file.write(made.with_suffix(target.suffix).read_bytes())
    return [path, weights]
