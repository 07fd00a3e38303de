"""FeatureExtractor: features of images given as files, arrays or tensors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from reid_dcs.data.augment import normalize
from reid_dcs.data.decode import read_images, resize
from reid_dcs.evaluation import embed
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision

ImageLike = str | Path | np.ndarray | Tensor
"""A file; an array (H, W, 3) uint8, RGB; or a tensor (3, H, W), uint8 or normalized floats."""


class FeatureExtractor:
    """Extracts features with a trained network.

    ``extractor(images)`` takes one image or an iterable of images: a list, a generator, an array
    (N, H, W, 3), a tensor (N, 3, H, W). Files, arrays and uint8 tensors are RGB of any size; they
    are resized and normalized according to the weights' card. Float tensors must already be
    normalized and of the network's input size. Types may be mixed.

    Args:
        weights: a checkpoint, a name of the model zoo, or a torchreid checkpoint together with
            ``model``.
        model: name of the architecture, if the file does not name it.
        options: options of the architecture.
        height, width: input size of the network; by default that of its training.
        batch_size: images per forward pass.
        flip: average the features of each image and its mirror image.
        precision: ``float32``, ``bfloat16``, ``float16``, or ``auto``, the lowest that the device
            supports in hardware.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Attributes:
        model: the network, in evaluation mode.
        card: the :class:`reid_dcs.weights.ModelCard` of the weights.
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
        precision: str = "float32",
        device: str = "auto",
    ) -> None:
        sizes = {"height": height, "width": width}
        given: dict[str, Any] = {
            "model": {"name": model} if model else {},
            "data": {key: value for key, value in sizes.items() if value},
            "device": device,
            "eval": {"batch_size": batch_size, "precision": precision},
        }
        if options:
            given["model"]["options"] = dict(options)
        trained = read_trained(weights, given)
        config, self.card = trained.config, trained.card
        self.height, self.width = config.data.height, config.data.width
        self.batch_size, self.flip = batch_size, flip
        self.device = choose_device(config.device)
        self.dtype = Precision(config.eval.precision, self.device).dtype
        self.model = load_trained(trained, self.device)

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """L2-normalized features (N, D) of N images, float32 on the CPU.

        Raises:
            ValueError: no images, or an array or tensor of a wrong shape or type.
            TypeError: an object that is not an image.
            InputError: unreadable files.
        """
        remaining, features = _each_image(images), []
        while batch := list(islice(remaining, self.batch_size)):
            inputs = self.inputs(batch)
            features.append(embed(self.model, inputs, self.flip, self.dtype))
        if not features:
            raise ValueError("no images given")
        return F.normalize(torch.cat(features))

    def inputs(self, images: Sequence[ImageLike]) -> Tensor:
        """Preprocess images: (B, 3, height, width), normalized, on the network's device."""
        preprocessing = self.card.preprocessing
        files = [str(image) for image in images if isinstance(image, str | Path)]
        size = (self.height, self.width)
        decoded = iter(list(read_images(files, *size, "images", preprocessing.interpolation)))
        inputs = []
        for image in images:
            if isinstance(image, Tensor) and image.is_floating_point():
                if image.shape != (3, self.height, self.width):
                    wanted = f"(3, {self.height}, {self.width})"
                    raise ValueError(f"a tensor of floats must be {wanted}, not {_shape(image)}")
                inputs.append(image)
                continue
            array = next(decoded) if isinstance(image, str | Path) else self._resize(image)
            batch = torch.from_numpy(np.array(array))[None]  # (1, height, width, 3)
            inputs.append(normalize(batch, preprocessing.mean, preprocessing.std)[0])
        return torch.stack(inputs).to(self.device, memory_format=torch.channels_last)

    def _resize(self, image: np.ndarray | Tensor) -> np.ndarray:
        """Resize an array or a tensor as files are resized: (height, width, 3) uint8."""
        array = image.cpu().numpy().transpose(1, 2, 0) if isinstance(image, Tensor) else image
        if array.dtype != np.uint8 or array.shape[2] != 3:
            raise ValueError(
                "an image must be an array (H, W, 3) or a tensor (3, H, W) of uint8, RGB, not "
                f"{_shape(image)} of {image.dtype}"
            )
        if array.shape[:2] == (self.height, self.width):
            return array
        picture = Image.fromarray(np.ascontiguousarray(array))
        return resize(picture, self.height, self.width, self.card.preprocessing.interpolation)


def _each_image(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    if isinstance(images, str | Path):
        yield images
    elif isinstance(images, np.ndarray | Tensor):
        if images.ndim not in (3, 4):
            raise ValueError(f"an image must have three axes, a batch four, not {_shape(images)}")
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        for image in images:
            yield from _each_image(image)
    else:
        raise TypeError(
            f"{type(images).__name__} is not an image: pass a file, an array or a tensor"
        )


def _shape(image: np.ndarray | Tensor) -> str:
    return str(tuple(image.shape))
