"""Export trained networks to safetensors, or to ONNX after a comparison with PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.data.augment import normalize
from reid_dcs.data.image_files import images_in
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.errors import InputError
from reid_dcs.files import check_creatable
from reid_dcs.inference.forms import (
    check_form,
    form_inputs,
    form_metadata,
    form_network,
    suffix,
    write_form,
)
from reid_dcs.inference.load import BUILDERS, REID, load_trained, read_trained
from reid_dcs.inference.onnx import Normalized, OnnxNetwork, onnx_graph
from reid_dcs.inference.reduced import (
    CALIBRATION,
    LabeledImages,
    decode,
    labeled_set,
    mean_average_precision,
    to_float16,
    to_int8,
)
from reid_dcs.runtime.imports import extra
from reid_dcs.weights import ModelCard, Preprocessing, save_safetensors

TOLERANCE = 1e-4
"""Largest accepted difference between L2-normalized features."""
TIE = 1e-5
"""Distances that differ by less count as ties."""
FORM_SUFFIXES = ".onnx or .xml"
BATCH = 64
PEOPLE = 8  # generated people for the comparison, each under two cameras


@dataclass(frozen=True)
class Target:
    """What to export for.

    Attributes:
        form: one of :data:`~reid_dcs.inference.forms.FORMS`.
        preprocess: the graph takes (B, H, W, 3) uint8, RGB, and normalizes it; ``onnx`` only.
        height, width: input size; by default that of the training.
        precision: ``float32``, ``float16`` or ``int8``.
        dataset, root: labeled set to measure the loss of a reduced precision on; its folder is by
            default ``datasets``.
    """

    form: str = "onnx"
    preprocess: bool = False
    height: int | None = None
    width: int | None = None
    precision: str = "float32"
    dataset: str | None = None
    root: str | None = None


def export(
    weights: str | Path,
    output: Path,
    model: str | None = None,
    images: Path | None = None,
    target: Target = Target(),
    is_folder: bool = False,
) -> tuple[Path, str]:
    """Write a trained network to ``output``, in the format of its suffix.

    ``.onnx``: a graph from normalized images (B, 3, H, W), or with ``target.preprocess`` from
    (B, H, W, 3) uint8, RGB, to features (B, D), or to the logits of an image classification
    network. It is written only if its features and rankings match PyTorch's.
    ``.xml``: the same for OpenVINO. Other forms of input: :mod:`reid_dcs.inference.forms`; reduced
    precision: :mod:`reid_dcs.inference.reduced`.
    ``.safetensors``: the weights; see :mod:`reid_dcs.weights.safetensors`. All include the card.

    Args:
        weights: a file, or a name of the model zoo.
        output: a file, or a folder for ``<model>.onnx``; the folder is created if needed, just
            before the file is written.
        model: name of the architecture, if the weights do not name it.
        images: folder of images to compare on, and to calibrate int8 on; by default generated
            people.
        target: what to export for; by default an ONNX graph of the size of the training.
        is_folder: ``output`` is a folder, even if its name has a suffix.

    Returns:
        the file, and a sentence about its difference from the original.

    Raises:
        InputError: missing weights, images or package, an unknown suffix, a target that would be
            ignored, or different features or rankings; nothing is written.
    """
    sizes = {"height": target.height, "width": target.width}
    data = {key: value for key, value in sizes.items() if value}
    given = {"model": {"name": model} if model else {}, "data": data}
    trained = read_trained(weights, given, BUILDERS)
    network, card = load_trained(trained, torch.device("cpu")), trained.card
    path = _output_file(output, card.model, suffix(target.form), is_folder)
    if path.suffix == ".safetensors":
        if target != Target() or images:
            raise InputError(
                f"{path} is a file of weights, so that --images and settings of a graph would be "
                f"ignored: leave them out, or export a graph to {FORM_SUFFIXES}"
            )
        rounding = save_safetensors(path, trained.content, card)
        return path, f"rounded by {rounding:.1e} at most, relative to each tensor's largest number"
    return _export_graph(network, card, path, images, target)


def _export_graph(
    network: nn.Module, card: ModelCard, path: Path, images: Path | None, target: Target
) -> tuple[Path, str]:
    """Export, compare and write a graph; see :func:`export`."""
    form, preprocessing = target.form, card.preprocessing
    if card.task != REID and (form, target.precision) != ("onnx", "float32"):
        raise InputError(
            f"--for {form} --precision {target.precision} is for Re-ID networks; these are of the "
            f"task {card.task!r}: leave both out"
        )
    check_form(form, card, target.preprocess)
    _check_measured_set(target)
    for package in ("onnx", "onnxscript", "onnxruntime"):  # fail before minutes of work
        extra(package)
    if form == "openvino":
        extra("openvino", "openvino")
    labeled = None
    if target.precision != "float32":
        files = images_in(images) if images and images.is_dir() else []
        if target.precision == "int8" and not files:
            raise InputError("--precision int8 is calibrated on your images: pass --images DIR")
        labeled = labeled_set(target.dataset, target.root or "datasets", files)
    inputs = pixels = _images(images, preprocessing)
    if target.preprocess:
        network = Normalized(network, preprocessing.mean, preprocessing.std).eval()
    else:
        network = form_network(form, network, card)
        normalized = normalize(pixels, preprocessing.mean, preprocessing.std).contiguous()
        inputs = form_inputs(form, normalized, card)
    graph = onnx_graph(network, inputs[:2])
    difference = compare(network, graph, inputs)
    outputs = "features" if card.task == REID else "logits"
    how = f"{outputs} of length 1 differ from PyTorch's by {difference:.1e} at most"
    how = f"{how}, and rank {len(pixels)} images alike"
    extras: dict[str, Any] = {}
    if labeled:
        graph, loss = _reduce(graph, labeled, inputs, card, target)
        extras["precision"] = loss
        how = (
            f"{target.precision}: mAP {loss['mAP']:.2%} on {labeled.name}, "
            f"{loss['mAP_float32']:.2%} in float32"
        )
    normalizes = target.preprocess or form == "ultralytics"
    metadata = form_metadata(form, card, normalizes, extras)
    extra("onnx").helper.set_model_props(graph, metadata)
    write_form(form, graph, path, card)
    return path, how


def _reduce(
    graph: Any, labeled: LabeledImages, inputs: Tensor, card: ModelCard, target: Target
) -> tuple[Any, dict[str, Any]]:
    """A graph of reduced precision, and its measured loss."""

    def feed(normalized: Tensor) -> Tensor:
        if not target.preprocess:
            return form_inputs(target.form, normalized, card)
        fractions = form_inputs("ultralytics", normalized, card)
        return (255 * fractions).round().byte().permute(0, 2, 3, 1).contiguous()

    size = card.preprocessing
    before = mean_average_precision(graph, labeled, size, feed)
    if target.precision == "float16":
        reduced = to_float16(graph)
    else:
        step = -(-len(inputs) // CALIBRATION)
        reduced = to_int8(graph, inputs[::step])
    after = mean_average_precision(reduced, labeled, size, feed)
    loss = {"name": target.precision, "mAP": after, "mAP_float32": before, "set": labeled.name}
    return reduced, loss


def _distances(features: Tensor) -> Tensor:
    """(N, D) -> (N, N), in double precision: in single, those of equal features are off by 3e-4."""
    return torch.cdist(features.double(), features.double())


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
    order = _distances(found).argsort(1)  # (N + 1, N + 1)
    distances = _distances(expected).gather(1, order)
    if (distances.diff(dim=1) < -TIE).any():
        raise InputError(
            "nothing is written: the exported network ranks images in another order than PyTorch; "
            "try other versions of torch and onnxruntime"
        )
    return difference


def _check_measured_set(target: Target) -> None:
    """Refuse a labeled set that no loss is measured on."""
    given = [f"--{name}" for name in ("dataset", "root") if getattr(target, name)]
    if given and target.precision == "float32":
        raise InputError(
            f"{' and '.join(given)} would be ignored: the loss of a reduced precision is measured "
            "there; pass --precision float16 or int8, or leave out what is ignored"
        )
    if given == ["--root"]:
        raise InputError(
            "--root would be ignored: it is the folder of --dataset; pass --dataset NAME, or leave "
            "--root out"
        )


def _output_file(output: Path, model: str, graph: str, is_folder: bool) -> Path:
    """Path of the file to write, a graph by default.

    Raises:
        InputError: another suffix, or a place where nothing can be written.
    """
    suffixes = (graph, ".safetensors")
    is_file = output.suffix in suffixes and not is_folder
    if not is_file and not is_folder and output.suffix and not output.is_dir():
        raise InputError(f"cannot export to {output}: its name must end in {' or '.join(suffixes)}")
    path = output if is_file else output / f"{model}{graph}"
    check_creatable(path)
    return path


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
    return decode([str(file) for file in files], preprocessing)
