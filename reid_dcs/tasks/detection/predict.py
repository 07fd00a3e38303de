"""Detect objects in any images: COCO's results, pictures, and crops of people for Re-ID."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from reid_dcs.data.decode import read_pixels
from reid_dcs.data.image_files import check_outside_images, images_in, write_jpeg
from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, folder_written_whole, write_json
from reid_dcs.runtime.device import choose_device
from reid_dcs.tasks.detection.drawing import draw_detections
from reid_dcs.tasks.detection.evaluation import as_results, detect_image
from reid_dcs.tasks.detection.trained import TrainedDetector, load_detector

PERSON = "person"  # name of the category whose crops are written
CROPS = "people/gallery"
"""Folder of the crops; ``people`` has the layout of the data set ``folder``."""


def predict(
    weights: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    threshold: float = 0.5,
    device: str = "auto",
) -> dict[str, Any]:
    """Detect objects in images and write what was found.

    ``output`` receives

    - ``results.json``: detections in COCO's format for results, with ids of ``images.json``;
    - ``images.json``: the images and categories, in COCO's format for annotations;
    - ``pictures/``: the images, with boxes and masks;
    - ``people/gallery/``: a crop of each person, ``<number>_c1_<image>.jpg``; since who is who is
      not known, every crop has a number of its own.

    Args:
        weights: checkpoint of a detector.
        images: image files or folders.
        output: folder to create.
        threshold: detections with a lower score are left out.
        device: as the setting ``device``.

    Returns:
        the content of ``images.json``, with the results as ``annotations``.

    Raises:
        InputError: missing or damaged weights or images, or a folder that is there already or is
            inside one of ``images``.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: give a score from 0 to 1")
    check_outside_images(output, images)
    trained = load_detector(weights, choose_device(device))
    trained.detector.roi_heads.score_threshold = threshold
    paths = [path for given in images for path in _files(Path(given))]
    names = picture_names(paths)
    with _new_folder(Path(output)) as folder:
        for subfolder in ("pictures", CROPS):
            (folder / subfolder).mkdir(parents=True)
        listed, results, people = [], [], 0
        for number, path in enumerate(tqdm(paths, "detect", leave=False, disable=None), start=1):
            pixels = _read(path)
            found = detect_image(trained.detector, torch.from_numpy(pixels.copy()).permute(2, 0, 1))
            height, width = pixels.shape[:2]
            listed.append({"id": number, "file_name": str(path), "height": height, "width": width})
            results += as_results(number, found, [c.id for c in trained.categories])
            drawn = draw_detections(pixels, found, [c.name for c in trained.categories])
            write_jpeg(folder / "pictures" / f"{names[number - 1]}.jpg", drawn)
            for crop in _people(trained, pixels, found):
                people += 1
                name = f"{people:06d}_c1_{names[number - 1]}.jpg"
                write_jpeg(folder / CROPS / name, crop)
        content = {
            "images": listed,
            "categories": [category._asdict() for category in trained.categories],
        }
        write_json(folder / "results.json", results)
        write_json(folder / "images.json", content)
    print(
        f"{len(paths)} image(s), {len(results)} object(s), {people} of them people; written to "
        f"{output}/"
    )
    return content | {"annotations": results}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return images_in(path)
    if not path.is_file():
        raise InputError(f"no image or folder at {path}")
    return [path]


def picture_names(paths: Sequence[Path]) -> list[str]:
    """A name for each image; images of the same name in other folders get a number."""
    names: dict[str, None] = {}
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in count(2))
        names[next(name for name in chain([path.stem], numbered) if name not in names)] = None
    return list(names)


def _read(path: Path) -> np.ndarray:
    try:
        return read_pixels(path)
    except OSError as error:
        raise InputError(f"{path} is unreadable ({error}): replace it or leave it out") from error


def _people(
    trained: TrainedDetector, pixels: np.ndarray, found: dict[str, Tensor]
) -> list[np.ndarray]:
    """Crops of the people in an image, the likeliest first."""
    crops = []
    for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
        if trained.categories[label - 1].name == PERSON:
            left, top = int(box[0]), int(box[1])
            right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
            crops.append(pixels[top:bottom, left:right])
    return crops


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that is there at the end, complete, or not at all.

    Raises:
        InputError: there is one already, or it cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} is there already: choose another folder with --output-dir")
    try:
        create_folder(path.parent)
        with folder_written_whole(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from error
