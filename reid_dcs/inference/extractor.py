"""Features of any images: files, arrays or tensors, as many as there are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from reid_dcs.data.augment import normalise
from reid_dcs.data.decode import read_images
from reid_dcs.evaluation import embed
from reid_dcs.inference.load import identities_of, load_trained, read_trained, title_of
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.precision import Precision

ImageLike = str | Path | np.ndarray | Tensor
"""A file; or (H, W, 3) uint8, RGB; or a tensor, (3, H, W), uint8 or as the network takes it."""


class FeatureExtractor:
    """A trained network as a function from images to features.

    ``extractor(images)`` takes one image, or any number of them in whatever gives one after the
    other: a list, a generator, an array (N, H, W, 3), a tensor (N, 3, H, W). Files, arrays and
    uint8 tensors are RGB of any size; they are resized and normalised. Tensors of floats are taken
    as they are: normalised already, and of the network's size. Kinds may be mixed.

    Args:
        weights: a checkpoint of ours, or of torchreid's with ``model``; or a name of the model zoo.
        model: name of the architecture, where the file does not say it.
        options: of the architecture.
        height, width: of the network's input; what it was trained with by default.
        batch_size: images that go through the network at a time.
        flip: the mean of an image's features and its mirror image's.
        precision: that the network computes in: ``float32``, ``bfloat16``, ``float16``, or
            ``auto``, the lowest that the device has units for.
        device: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        model: the network, in evaluation mode.
        height, width: of its input.
        identities: that its classifier tells apart; 0 where the file has no classifier.
        title: which network it is, and what it was trained on, in two lines.

    Raises:
        InputError: no such weights, or of another architecture; no such device.
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
        given = {
            "model": {"name": model} if model else {},
            "data": {key: value for key, value in sizes.items() if value},
            "device": device,
            "eval": {"batch_size": batch_size, "precision": precision},
        }
        if options:
            given["model"]["options"] = dict(options)
        config, content = read_trained(weights, given)
        self.identities, self.title = identities_of(content), title_of(config, content)
        self.height, self.width = config.data.height, config.data.width
        self.batch_size, self.flip = batch_size, flip
        self.device = choose_device(config.device)
        self.dtype = Precision(config.eval.precision, self.device).dtype
        self.model = load_trained(config, content, str(weights), self.device)

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """Features (N, D) of N images, of length 1, float32 on the CPU.

        Raises:
            ValueError: no images, or of a shape that is none.
            TypeError: something that is no image.
            InputError: files that cannot be read, counted and named.
        """
        every, features = _one_by_one(images), []
        while batch := list(islice(every, self.batch_size)):
            inputs = self.inputs(batch)
            features.append(embed(self.model, inputs, self.flip, self.dtype))
        if not features:
            raise ValueError("no images to extract features of")
        return F.normalize(torch.cat(features))

    def inputs(self, images: Sequence[ImageLike]) -> Tensor:
        """What the network takes, (B, 3, height, width), normalised, on its device."""
        files = [str(image) for image in images if isinstance(image, str | Path)]
        read = iter(list(read_images(files, self.height, self.width, "images")))
        inputs = []
        for image in images:
            if isinstance(image, Tensor) and image.is_floating_point():
                if image.shape != (3, self.height, self.width):
                    wanted = f"(3, {self.height}, {self.width})"
                    raise ValueError(f"a tensor of floats must be {wanted}, not {_shape(image)}")
                inputs.append(image)
                continue
            if isinstance(image, str | Path):
                pixels = next(read)
            else:
                pixels = self._resized(image)
            inputs.append(normalise(torch.from_numpy(np.array(pixels))[None])[0])
        return torch.stack(inputs).to(self.device, memory_format=torch.channels_last)

    def _resized(self, image: np.ndarray | Tensor) -> np.ndarray:
        """(height, width, 3) uint8, as files are resized: PIL, bilinear."""
        array = image.cpu().numpy().transpose(1, 2, 0) if isinstance(image, Tensor) else image
        if array.dtype != np.uint8 or array.shape[2] != 3:
            raise ValueError(
                "an image must be an array (H, W, 3) or a tensor (3, H, W) of uint8, RGB, not "
                f"{_shape(image)} of {image.dtype}"
            )
        if array.shape[:2] == (self.height, self.width):
            return array
        picture = Image.fromarray(np.ascontiguousarray(array))
        size = self.width, self.height
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def _one_by_one(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    if isinstance(images, str | Path):
        yield images
    elif isinstance(images, np.ndarray | Tensor):
        if images.ndim not in (3, 4):
            raise ValueError(f"an image has three axes and a batch has four, not {_shape(images)}")
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        for image in images:
            yield from _one_by_one(image)
    else:
        raise TypeError(f"{type(images).__name__} is no image: give a file, an array or a tensor")


def _shape(image: np.ndarray | Tensor) -> str:
    return str(tuple(image.shape))
