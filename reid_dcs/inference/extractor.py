"""FeatureExtractor: features of images given as files, Pillow images, arrays or tensors."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from reid_dcs.data.augment import normalize
from reid_dcs.data.decode import read_images, resize
from reid_dcs.data.image_files import images_in
from reid_dcs.data.rgb import array_to_rgb, to_rgb
from reid_dcs.errors import InputError
from reid_dcs.evaluation import embed
from reid_dcs.inference.load import REID, check_task, load_trained, read_trained
from reid_dcs.inference.onnx_file import OnnxModel
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision
from reid_dcs.weights import ModelCard

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
"""A file or a folder of images; a Pillow image; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4);
a tensor (C, H, W) of uint8; or a tensor (3, H, W) of normalized floats."""


class FeatureExtractor:
    """Extracts features with a trained network.

    ``extractor(images)`` takes one image or an iterable of images: a list, a generator, an array
    (N, H, W, C), a tensor (N, C, H, W). Types may be mixed. Files, folders (their images by name),
    Pillow images, arrays and uint8 tensors are grey, RGB or RGBA of any size; they are converted to
    RGB, resized and normalized according to the weights' card. Arrays of floats are fractions, or
    from 0 to 255 if a number is above 1. Float tensors must already be normalized and of the
    network's input size.

    Args:
        weights: a checkpoint, a name of the model zoo, a torchreid checkpoint together with
            ``model``, or a graph of :mod:`reid_dcs.inference.export` (``.onnx``), which runs on
            the CPU at the size it was exported for.
        model: name of the architecture, if the file does not name it.
        options: options of the architecture.
        height, width: input size of the network; by default that of its training.
        batch_size: images per forward pass.
        flip: average the features of each image and its mirror image.
        bgr: arrays and uint8 tensors are BGR, as OpenCV reads images.
        precision: ``float32``, ``bfloat16``, ``float16``, or ``auto``, the lowest that the device
            supports in hardware.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        tasks: tasks of the weights that are accepted; the features of an image classification
            network are its logits.

    Attributes:
        model: the network, in evaluation mode.
        card: the :class:`reid_dcs.weights.ModelCard` of the weights.
        path: file of the weights.
        height, width: input size of the network.

    Raises:
        InputError: missing weights or device, or weights of another architecture.
    """

    def __init__(
        self,
        weights: str | Path,
        model: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        height: int | None = None,
        width: int | None = None,
        batch_size: int = 64,
        flip: bool = False,
        bgr: bool = False,
        precision: str = "float32",
        device: str = "auto",
        tasks: Collection[str] = (REID,),
    ) -> None:
        self.batch_size, self.flip, self.bgr = batch_size, flip, bgr
        if Path(weights).suffix == ".onnx":
            settings = (model, options, height, width, precision, device)
            self._load_graph(Path(os.path.expanduser(weights)), *settings)
            if batch_size < 1:
                raise InputError(f"batch_size must be at least 1, not {batch_size}")
            check_task(self.card, tasks, weights)
            return
        sizes = {"height": height, "width": width}
        given: dict[str, Any] = {
            "model": {"name": model} if model else {},
            "data": {key: value for key, value in sizes.items() if value},
            "device": device,
            "eval": {"batch_size": batch_size, "precision": precision},
        }
        if options:
            given["model"]["options"] = dict(options)
        trained = read_trained(weights, given, tasks)
        config = trained.config
        self.card: ModelCard = trained.card
        self.path: Path = trained.path
        self.height, self.width = config.data.height, config.data.width
        self.device = choose_device(config.device)
        self.dtype = Precision(config.eval.precision, self.device).dtype
        self.model: nn.Module = load_trained(trained, self.device)

    def _load_graph(self, path: Path, *given: object) -> None:
        *settings, precision, device = given
        self.model = network = OnnxModel(path)
        self.card, self.path = network.card, path
        self.height, self.width = self.card.preprocessing.height, self.card.preprocessing.width
        self.device, self.dtype = torch.device("cpu"), torch.float32
        fixed = precision in ("float32", "auto") and device in ("auto", "cpu")
        if any(settings) or not fixed:
            raise InputError(
                f"{path} is exported and runs on the CPU: its model, options, size, precision and "
                "device cannot be chosen"
            )

    def __call__(self, images: ImageLike | Iterable[ImageLike], bgr: bool | None = None) -> Tensor:
        """L2-normalized features (N, D) of N images, float32 on the CPU; (0, D) without images.

        Args:
            images: see the class.
            bgr: overrides the constructor's.

        Raises:
            ValueError: an array, tensor or Pillow image of a wrong shape or type, without pixels,
                or with numbers out of range.
            TypeError: an object that is not an image.
            InputError: unreadable files, a folder without images, or features that are not finite.
        """
        remaining, features = _each_image(images), []
        while batch := list(islice(remaining, self.batch_size)):
            features.append(self._embed(self.inputs(batch, bgr)))
        if not features:
            blank = torch.zeros(1, 3, self.height, self.width, device=self.device)
            features.append(self._embed(blank)[:0])
        return F.normalize(torch.cat(features))

    def inputs(self, images: Sequence[ImageLike], bgr: bool | None = None) -> Tensor:
        """Preprocess images: (B, 3, height, width), normalized, on the network's device."""
        preprocessing = self.card.preprocessing
        files = [str(image) for image in images if isinstance(image, str | os.PathLike)]
        how = (preprocessing.interpolation, preprocessing.center_crop)
        decoded = iter(list(read_images(files, self.height, self.width, "images", *how)))
        inputs = []
        for image in images:
            if isinstance(image, Tensor) and image.is_floating_point():
                inputs.append(self._normalized(image))
                continue
            if isinstance(image, str | os.PathLike):
                array = next(decoded)
            else:
                array = self.resize(image, self.bgr if bgr is None else bgr)
            inputs.append(self.normalize(array))
        return torch.stack(inputs).to(self.device, memory_format=torch.channels_last)

    def _embed(self, inputs: Tensor) -> Tensor:
        features = embed(self.model, inputs, self.flip, self.dtype)
        if not features.isfinite().all():
            raise InputError(
                "features are not finite: the model has diverged, or its numbers are too large for "
                "precision=float16; use other weights, or float32"
            )
        return features

    def normalize(self, pixels: np.ndarray) -> Tensor:
        """What :meth:`resize` gives as an input of the network: (3, height, width), normalized."""
        batch = torch.from_numpy(np.array(pixels))[None]  # (1, height, width, 3)
        return normalize(batch, self.card.preprocessing.mean, self.card.preprocessing.std)[0]

    def _normalized(self, image: Tensor) -> Tensor:
        if image.shape != (3, self.height, self.width):
            wanted = f"(3, {self.height}, {self.width})"
            raise ValueError(f"a tensor of floats must be {wanted}, not {_shape(image)}")
        if not image.isfinite().all():
            raise ValueError("a tensor of floats holds a number that is not finite")
        return image.float().cpu()

    def resize(self, image: Image.Image | np.ndarray | Tensor, bgr: bool = False) -> np.ndarray:
        """Convert to RGB and resize, as files are resized: (height, width, 3) uint8."""
        if isinstance(image, Image.Image):
            try:
                picture = to_rgb(image)
            except OSError as error:
                raise InputError(f"unreadable or truncated image: {error}") from error
        else:
            if isinstance(image, Tensor):
                image = (image.movedim(0, -1) if image.ndim == 3 else image).cpu().numpy()
            picture = Image.fromarray(array_to_rgb(image, bgr))
        pixels = self.card.preprocessing
        how = (pixels.interpolation, pixels.center_crop)
        try:
            return resize(picture, self.height, self.width, *how)
        except OSError as error:  # too large on the way
            raise InputError(f"unusable image: {error}") from error


def _each_image(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    if isinstance(images, str | os.PathLike):
        path = Path(os.path.expanduser(images))
        yield from images_in(path) if path.is_dir() else [path]
    elif isinstance(images, Image.Image):
        yield images
    elif isinstance(images, np.ndarray | Tensor):
        if images.ndim not in (2, 3, 4):
            raise ValueError(
                f"an image must have two or three axes, a batch four, not {_shape(images)}"
            )
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        for image in images:
            yield from _each_image(image)
    else:
        raise TypeError(
            f"{type(images).__name__} is not an image: pass a file, a Pillow image, an array or a "
            "tensor"
        )


def _shape(image: np.ndarray | Tensor) -> str:
    return str(tuple(image.shape))
