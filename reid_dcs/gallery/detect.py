"""People in photographs and in frames of videos, found by YOLOX in ONNX Runtime.

The detector is an entry of the model zoo (Apache-2.0), or any file of YOLOX's own export: input
(1, 3, H, W), BGR from 0 to 255, padded with 114 at the right and bottom; output (1, anchors, 85).
Any other object with ``__call__(image) -> list of Detection`` can stand in its place.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from reid_dcs.errors import InputError
from reid_dcs.gallery.crops import Crop, cut
from reid_dcs.gallery.finding import settings_of
from reid_dcs.gallery.pictures import Picture
from reid_dcs.gallery.sources import is_video
from reid_dcs.gallery.times import UNKNOWN
from reid_dcs.gallery.video import read_frames
from reid_dcs.runtime.imports import extra
from reid_dcs.zoo.cache import download
from reid_dcs.zoo.manifest import read_detectors

PERSON = 0  # class of COCO
OVERLAP = 0.45
"""Intersection over union above which the less confident of two boxes is dropped."""
LEAST_HEIGHT = 24  # pixels; smaller people are not recognized
_PADDING = 114
_STRIDES = (8, 16, 32)


class Detection(NamedTuple):
    """A person in an image: left, top, right, bottom in pixels, and confidence from 0 to 1."""

    box: tuple[int, int, int, int]
    confidence: float


Detector = Callable[[np.ndarray], list[Detection]]
"""Finds the people in an image (H, W, 3) uint8, RGB."""


class YoloX:
    """YOLOX with its published preprocessing.

    Args:
        path: ONNX file.
        confidence: least confidence of a detection.

    Attributes:
        settings: name and hash of the file, and the confidence.

    Raises:
        InputError: the file is not such a network, or ONNX Runtime is missing.
    """

    def __init__(self, path: Path, confidence: float = 0.5) -> None:
        runtime = extra("onnxruntime", "gallery")
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what it would print is an exception anyway
        try:
            content = path.read_bytes()
            self.session: Any = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            (given,) = self.session.get_inputs()
            _, channels, self.height, self.width = given.shape
            self.input = given.name
            if channels != 3 or self.height % 32 or self.width % 32:
                raise ValueError
            self.grid, self.stride = _anchors(self.height, self.width)  # (A, 2), (A, 1)
            blank = np.zeros((1, 3, self.height, self.width), dtype=np.float32)
            _, anchors, columns = self._run(blank).shape  # graphs need not state it
            if anchors != len(self.grid) or columns <= 5 + PERSON:
                raise ValueError
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except Exception as error:  # of ONNX Runtime: its types are not public
            raise InputError(f"{path} is not a YOLOX network: pass --detect yolox_nano") from error
        self.confidence = confidence
        name = f"{path.stem} (sha256 {hashlib.sha256(content).hexdigest()[:12]})"
        self.settings = {"detector": name, "confidence": confidence}

    def _run(self, inputs: np.ndarray) -> np.ndarray:
        """Output (1, A, 5 + classes) for (1, 3, H, W) float32.

        A row is center x and y, width and height, objectness, and a score of each class.
        """
        (output,) = self.session.run(None, {self.input: inputs})
        return np.asarray(output)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The people in an image (H, W, 3) uint8, RGB, the most confident first."""
        height, width = image.shape[:2]
        scale = min(self.height / height, self.width / width)
        size = max(1, int(width * scale)), max(1, int(height * scale))
        padded = np.full((self.height, self.width, 3), _PADDING, dtype=np.uint8)
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        padded[: size[1], : size[0]] = cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
        inputs = padded.transpose(2, 0, 1)[None].astype(np.float32)  # (1, 3, H, W)
        rows = self._run(inputs)[0]  # (A, 5 + classes)
        center = (rows[:, :2] + self.grid) * self.stride
        extent = np.exp(np.clip(rows[:, 2:4], None, 10)) * self.stride
        scores = rows[:, 4] * rows[:, 5 + PERSON]
        kept = np.flatnonzero(scores >= self.confidence)
        corners = (center - extent / 2)[kept] / scale  # (K, 2), left and top
        boxes = np.concatenate([corners, extent[kept] / scale], 1)
        chosen = cv2.dnn.NMSBoxes(boxes.tolist(), scores[kept].tolist(), self.confidence, OVERLAP)
        found = [
            Detection(_inside(boxes[i], width, height), float(scores[kept][i]))
            for i in np.asarray(chosen, dtype=int).ravel()
        ]
        return sorted(
            (each for each in found if each.box[3] - each.box[1] >= LEAST_HEIGHT),
            key=lambda each: (-each.confidence, each.box),
        )


class PeopleReader:
    """Reads the people in a picture or a video, for :meth:`Gallery.add`.

    Args:
        detector: finds them.
        every: seconds between the frames of a video that are looked at.

    Attributes:
        settings: those of the detector, or its name, and ``every``: what a gallery remembers.
    """

    def __init__(self, detector: Detector, every: float = 1.0) -> None:
        self.detector, self.every = detector, every
        self.settings = {**settings_of(detector), "every": every}

    def __call__(self, source: Picture) -> Iterator[Crop]:
        from reid_dcs.data.decode import read_pixels

        if not is_video(source.path):
            yield from self._people(source, read_pixels(source.path))
            return
        start = 0 if source.time == UNKNOWN else source.time
        for number, milliseconds, frame in read_frames(Path(source.path), self.every):
            at = replace(source, frame=number, time=start + milliseconds)
            yield from self._people(at, frame)

    def _people(self, source: Picture, image: np.ndarray) -> Iterator[Crop]:
        for box, _ in self.detector(image):
            left, top, right, bottom = box
            text = f"{left},{top},{right - left},{bottom - top}"
            yield Crop(replace(source, box=text), cut(image, box))


def load_detector(name: str, confidence: float) -> YoloX:
    """A detector of the model zoo, or a file.

    Raises:
        InputError: no such name or file, or the download fails.
    """
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        detectors = read_detectors()
        if name not in detectors:
            raise InputError(
                f"--detect {name}: no such file, and the zoo's detectors are {', '.join(detectors)}"
            )
        path = download(name, detectors[name])
    return YoloX(path, confidence)


def _anchors(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (A, 2) in their grids, x first, and strides (A, 1), of YOLOX's three levels."""
    grids, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _inside(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box within the image, at least one pixel large."""
    left = int(np.clip(round(box[0]), 0, width - 1))
    top = int(np.clip(round(box[1]), 0, height - 1))
    right = int(np.clip(round(box[0] + box[2]), left + 1, width))
    bottom = int(np.clip(round(box[1] + box[3]), top + 1, height))
    return left, top, right, bottom
