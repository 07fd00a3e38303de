"""Export trained networks to safetensors, or to ONNX after a comparison with PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.data.augment import normalize
from reid_dcs.data.decode import read_images
from reid_dcs.data.image_files import images_in
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.errors import InputError
from reid_dcs.files import written_whole
from reid_dcs.inference.load import BUILDERS, REID, load_trained, read_trained
from reid_dcs.inference.onnx import Normalized, OnnxNetwork, extra, onnx_graph
from reid_dcs.weights import ModelCard, Preprocessing, save_safetensors

TOLERANCE = 1e-4
"""Largest accepted difference between L2-normalized features."""
TIE = 1e-5
"""Distances that differ by less count as ties."""
SUFFIXES = (".onnx", ".safetensors")
BATCH = 64
PEOPLE = 8  # generated people for the comparison, each under two cameras


def export(
    weights: str | Path,
    output: Path,
    model: str | None = None,
    images: Path | None = None,
    preprocess: bool = False,
) -> tuple[Path, str]:
    """Write a trained network to ``output``, in the format of its suffix.

    ``.onnx``: a graph from normalized images (B, 3, H, W), or with ``preprocess`` from (B, H, W, 3)
    uint8, RGB, to features (B, D), or to the logits of an image classification network. It is
    written only if its features and rankings match PyTorch's.
    ``.safetensors``: the weights; see :mod:`reid_dcs.weights.safetensors`. Both include the card.

    Args:
        weights: a file, or a name of the model zoo.
        output: a file, or a folder for ``<model>.onnx``; the folder is created if needed.
        model: name of the architecture, if the weights do not name it.
        images: folder of images to compare on; by default generated people.
        preprocess: include the normalization in the graph.

    Returns:
        the file, and a sentence about its difference from the original.

    Raises:
        InputError: missing weights, images or package, an unknown suffix, or different features
            or rankings; nothing is written.
    """
    trained = read_trained(weights, {"model": {"name": model} if model else {}}, BUILDERS)
    network, card = load_trained(trained, torch.device("cpu")), trained.card
    path = _output_file(output, card.model)
    if path.suffix == ".safetensors":
        rounding = save_safetensors(path, trained.content, card)
        return path, f"rounded by {rounding:.1e} at most, relative to each tensor's largest number"
    for package in ("onnx", "onnxscript", "onnxruntime"):  # fail before minutes of work
        extra(package)
    preprocessing = card.preprocessing
    inputs = pixels = _images(images, preprocessing)
    if preprocess:
        network = Normalized(network, preprocessing.mean, preprocessing.std).eval()
    else:
        inputs = normalize(pixels, preprocessing.mean, preprocessing.std).contiguous()
    graph = onnx_graph(network, inputs[:2])
    difference = compare(network, graph, inputs)
    extra("onnx").helper.set_model_props(graph, onnx_metadata(card, preprocess))
    with written_whole(path) as file:
        file.write(graph.SerializeToString())
    outputs = "features" if card.task == REID else "logits"
    how = f"{outputs} of length 1 differ from PyTorch's by {difference:.1e} at most"
    return path, f"{how}, and rank {len(pixels)} images alike"


def onnx_metadata(card: ModelCard, normalizes: bool) -> dict[str, str]:
    """Metadata of the graph, as JSON: the keys of the card, and whether the graph normalizes."""
    content = card.to_dict() | {"normalizes": normalizes}
    return {key: json.dumps(value) for key, value in content.items()}


def compare(network: nn.Module, graph: Any, inputs: Tensor) -> float:
    """Largest difference between the L2-normalized features of PyTorch and ONNX Runtime.

    Args:
        inputs: (N, ...), run in batches; the first one is also run alone.

    Raises:
        InputError: the difference exceeds :data:`TOLERANCE`, or rankings differ beyond ties.
    """
    exported = OnnxNetwork(graph)
    batches = [*inputs.split(BATCH), inputs[:1]]
    with torch.no_grad():
        expected = F.normalize(torch.cat([network(batch) for batch in batches]))  # (N + 1, D)
    found = F.normalize(torch.cat([exported(batch) for batch in batches]))
    difference = (found - expected).abs().max().item()
    if not difference < TOLERANCE:  # also if it is not a number
        raise InputError(
            f"nothing is written: the exported network differs from PyTorch by {difference:.1e}, "
            f"more than {TOLERANCE:.0e}; try other versions of torch and onnxruntime"
        )
    order = torch.cdist(found, found).argsort(1)  # (N + 1, N + 1)
    distances = torch.cdist(expected, expected).gather(1, order)
    if (distances.diff(dim=1) < -TIE).any():
        raise InputError(
            "nothing is written: the exported network ranks images in another order than PyTorch; "
            "try other versions of torch and onnxruntime"
        )
    return difference


def _output_file(output: Path, model: str) -> Path:
    """Path of the file to write; creates its folder."""
    folder = output.parent if output.suffix in SUFFIXES else output
    if output.suffix and folder is output and not output.is_dir():
        raise InputError(f"cannot export to {output}: its name must end in {' or '.join(SUFFIXES)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    return output if folder is not output else output / f"{model}.onnx"


def _images(images: Path | None, preprocessing: Preprocessing) -> Tensor:
    """Images to compare on: from files, or generated people; (N, height, width, 3) uint8, RGB."""
    height, width = preprocessing.height, preprocessing.width
    if images is None:
        random = np.random.default_rng(0)
        people = [sample_person(random) for _ in range(PEOPLE)]
        drawn = [
            photograph(person, camera, random, height=height, width=width)
            for person in people
            for camera in CAMERAS[:2]
        ]
        return torch.from_numpy(np.stack(drawn))
    files = images_in(images) if images.is_dir() else [images]
    if len(files) < 2 or not all(path.is_file() for path in files):
        raise InputError(f"--images {images}: pass a folder with at least two images")
    paths = [str(file) for file in files]
    decoded = read_images(
        paths, height, width, "images", preprocessing.interpolation, preprocessing.center_crop
    )
    return torch.from_numpy(np.stack([*decoded]))
