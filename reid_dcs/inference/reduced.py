"""Graphs of reduced precision: float16, and int8 by static quantization with the user's images.

Reduction changes features, so that a reduced graph is only written with its measured loss: mAP
before and after, on a labeled set.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid_dcs.data.augment import normalize
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.listing import Item
from reid_dcs.data.datasets.names import read_name
from reid_dcs.data.decode import read_images
from reid_dcs.errors import InputError
from reid_dcs.evaluation import evaluate_features
from reid_dcs.inference.onnx import INPUT, OnnxNetwork
from reid_dcs.runtime.imports import extra
from reid_dcs.weights.card import Preprocessing

PRECISIONS = ("float32", "float16", "int8")
CALIBRATION = 256
"""Number of the user's images that the ranges of int8 are measured on, evenly spaced."""
_BATCH = 64


class LabeledImages(NamedTuple):
    """Query and gallery images with identity and camera."""

    name: str
    query: list[Item]
    gallery: list[Item]


def labeled_set(dataset: str | None, root: str, images: Sequence[Path]) -> LabeledImages:
    """The set that the loss is measured on: a data set's test split, or labeled images.

    Labels of images are in their names, ``0002_c1...jpg``. Each image is then a query, and all
    others are the gallery; without cameras, an image itself is left out. As in Market-1501,
    identity -1 is junk, which is left out, and 0 are distractors, who are no queries.

    Raises:
        InputError: neither is given, or the names have no identities.
    """
    if dataset:
        found = load_dataset(dataset, root, {}, ("query", "gallery"))
        return LabeledImages(dataset, list(found.query), list(found.gallery))
    labels = [read_name(path.name) for path in images]
    known = [
        (path, each)
        for path, each in zip(images, labels, strict=True)
        if each is not None and each.identity != -1
    ]
    if len(known) < 2:
        raise InputError(
            "a reduced precision is written with its measured loss of mAP: pass --dataset NAME "
            "--root DIR, or --images DIR with names such as 0002_c1.jpg"
        )
    items = [
        (str(path), each.identity, int(each.camera) if each.camera else -1 - i)
        for i, (path, each) in enumerate(known)
    ]
    people = [item for item in items if item[1] != 0]
    return LabeledImages(str(images[0].parent), people, items)


def mean_average_precision(
    graph: Any, labeled: LabeledImages, size: Preprocessing, feed: Callable[[Tensor], Tensor]
) -> float:
    """mAP of a graph on a labeled set.

    Args:
        graph: ONNX graph.
        labeled: the set.
        size: preprocessing.
        feed: from normalized images (B, 3, H, W) to the graph's input.

    Raises:
        InputError: no query has a match, or an image is unreadable.
    """
    run = OnnxNetwork(graph)
    features: list[Tensor] = []
    labels: list[tuple[np.ndarray, np.ndarray]] = []
    for items in (labeled.query, labeled.gallery):
        pixels = decode([item[0] for item in items], size)
        parts = [run(feed(_normalized(part, size))) for part in pixels.split(_BATCH)]
        features.append(torch.cat(parts))
        pids, camids = (np.array([item[i] for item in items]) for i in (1, 2))
        labels.append((pids, camids))
    (q_pids, q_camids), (g_pids, g_camids) = labels
    return evaluate_features(features[0], features[1], q_pids, g_pids, q_camids, g_camids).mAP


def to_float16(graph: Any) -> Any:
    """A copy whose weights and arithmetic are float16; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(_copy(graph), keep_io_types=True)


def to_int8(graph: Any, inputs: Tensor) -> Any:
    """A copy with int8 weights and activations, by static quantization (QDQ).

    Args:
        graph: ONNX graph.
        inputs: (N, ...) inputs of the graph, which the ranges of activations are measured on.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(inputs.split(_BATCH // 4))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared, target = (Path(folder, f"{name}.onnx") for name in "abc")
        source.write_bytes(graph.SerializeToString())
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return extra("onnx").load(target)


def decode(paths: Sequence[str], size: Preprocessing) -> Tensor:
    """Images at the network's input size: (N, height, width, 3) uint8, RGB."""
    images = read_images(
        paths, size.height, size.width, "images", size.interpolation, size.center_crop
    )
    return torch.from_numpy(np.stack([*images]))


def _normalized(pixels: Tensor, size: Preprocessing) -> Tensor:
    return normalize(pixels, size.mean, size.std).contiguous()


def _copy(graph: Any) -> Any:
    copy = type(graph)()
    copy.CopyFrom(graph)
    return copy


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the advice that the quantizer prints."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
