"""Trained networks for elsewhere: an ONNX graph that gives the same features, or safetensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, normalise
from reid_dcs.data.decode import read_images
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.errors import InputError
from reid_dcs.files import written_whole
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.inference.onnx import OnnxNetwork, Preprocessed, extra, onnx_graph
from reid_dcs.weights.safetensors import write_packed

TOLERANCE = 1e-4
"""Largest difference of a number of a feature of length 1."""
TIE = 1e-5
"""Distances that differ by less may change places."""
SUFFIXES = (".onnx", ".safetensors")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
BATCH = 64
PEOPLE = 8  # drawn, each under two cameras


def export(
    weights: str | Path,
    output: Path,
    model: str | None = None,
    images: Path | None = None,
    preprocess: bool = False,
) -> tuple[Path, str]:
    """Write a trained network as ``output``, whose suffix says how; in a folder, ``<model>.onnx``.

    ``.onnx``: the graph from images (B, 3, H, W), normalised, to features (B, D), or with
    ``preprocess`` from (B, H, W, 3) uint8, RGB. It is written once it gives PyTorch's features and
    ranking. ``.safetensors``: the weights, see :mod:`reid_dcs.weights.safetensors`.

    Args:
        weights: a file, or a name of the model zoo.
        output: a file; or a folder, made if need be.
        model: the architecture, where the weights do not say it.
        images: a picture or a folder of pictures to check the graph on; generated people, where
            it is left out.
        preprocess: the normalisation goes into the graph.

    Returns:
        the file, and in words how far it is from the original.

    Raises:
        InputError: no such weights or images, an unknown suffix, a missing package, another
            feature or ranking; nothing is written.
    """
    config, content = read_trained(weights, {"model": {"name": model} if model else {}})
    network = load_trained(config, content, str(weights), torch.device("cpu"))
    path = _place(output, config.model.name)
    if path.suffix == ".safetensors":
        rounding = write_packed(path, content)
        return path, f"rounded by {rounding:.1e} at most, relative to each tensor's largest number"
    for package in ("onnx", "onnxscript", "onnxruntime"):  # before minutes of work
        extra(package)
    pixels = _pictures(images, config.data.height, config.data.width)
    if preprocess:
        network, inputs = Preprocessed(network, IMAGENET_MEAN, IMAGENET_STD).eval(), pixels
    else:
        inputs = normalise(pixels).contiguous()
    graph = onnx_graph(network, inputs[:2])
    difference = compare(network, graph, inputs)
    said = {
        "model": {"name": config.model.name, "options": dict(config.model.options)},
        "preprocessing": {
            "height": config.data.height,
            "width": config.data.width,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "inside": preprocess,
        },
    }
    extra("onnx").helper.set_model_props(graph, {k: json.dumps(v) for k, v in said.items()})
    with written_whole(path) as file:
        file.write(graph.SerializeToString())
    how = f"features of length 1 differ from PyTorch's by {difference:.1e} at most"
    return path, f"{how}, and rank {len(pixels)} images alike"


def compare(network: nn.Module, graph: Any, inputs: Tensor) -> float:
    """The largest difference between features of length 1 by PyTorch and by ONNX Runtime.

    Args:
        inputs: (N, ...) as both take them; in batches, the first also alone.

    Raises:
        InputError: it is above :data:`TOLERANCE`, or rankings differ by more than ties.
    """
    exported = OnnxNetwork(graph)
    batches = [*inputs.split(BATCH), inputs[:1]]
    with torch.no_grad():
        expected = F.normalize(torch.cat([network(batch) for batch in batches]))  # (N + 1, D)
    found = F.normalize(torch.cat([exported(batch) for batch in batches]))
    difference = (found - expected).abs().max().item()
    if not difference < TOLERANCE:  # not a number included
        raise InputError(
            f"nothing is written: the exported network differs from PyTorch by {difference:.1e}, "
            f"more than {TOLERANCE:.0e}"
        )
    order = torch.cdist(found, found).argsort(1)  # (N + 1, N + 1)
    distances = torch.cdist(expected, expected).gather(1, order)
    if (distances.diff(dim=1) < -TIE).any():
        raise InputError("nothing is written: the exported network ranks images otherwise")
    return difference


def _place(output: Path, model: str) -> Path:
    """The file to write, in a folder that is there."""
    folder = output.parent if output.suffix in SUFFIXES else output
    if output.suffix and folder is output and not output.is_dir():
        raise InputError(f"cannot export to {output}: its name ends in {' or '.join(SUFFIXES)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    return output if folder is not output else output / f"{model}.onnx"


def _pictures(images: Path | None, height: int, width: int) -> Tensor:
    """(N, height, width, 3) uint8, RGB: files, or people that are drawn."""
    if images is None:
        random = np.random.default_rng(0)
        people = [sample_person(random) for _ in range(PEOPLE)]
        drawn = [
            photograph(person, camera, random, height=height, width=width)
            for person in people
            for camera in CAMERAS[:2]
        ]
        return torch.from_numpy(np.stack(drawn))
    files = [images]
    if images.is_dir():
        files = sorted(path for path in images.iterdir() if path.suffix.lower() in PICTURES)
    if len(files) < 2 or not all(path.is_file() for path in files):
        raise InputError(f"--images {images}: a folder of two pictures or more is needed")
    return torch.from_numpy(
        np.stack(list(read_images([*map(str, files)], height, width, "images")))
    )
