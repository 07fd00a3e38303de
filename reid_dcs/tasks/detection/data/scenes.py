"""Generated scenes of people and bicycles, in COCO's layout; the seed fixes every image."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reid_dcs.data.generated import generated, generating, read_recipe
from reid_dcs.data.image_files import write_jpeg
from reid_dcs.data.synthetic.streets import KINDS, draw_street
from reid_dcs.tasks.detection.data.masks import count_runs

VERSION = 1  # of the generator: a folder with another version is generated again
SPLITS = ("train", "val")


@dataclass(frozen=True)
class SceneSet:
    """Size and seed of a generated set.

    Attributes:
        train, val: numbers of images.
        height, width: of an image, in pixels.
        seed: random seed.
    """

    train: int = 400
    val: int = 100
    height: int = 120
    width: int = 160
    seed: int = 0


def draw_scenes(folder: Path, scenes: SceneSet | None = None) -> Path:
    """Draw the set in a folder, whole or not at all, unless it is there.

    Args:
        folder: target; a generated set of another version or size is replaced.
        scenes: size and seed; by default a set of any size that is there is kept.

    Returns:
        the folder.

    Raises:
        InputError: the folder cannot be written, or contains something else.
    """
    wanted = {"version": VERSION, **asdict(scenes or SceneSet())}
    with generating(folder):
        there = read_recipe(folder)
        same = there == wanted if scenes else (there or {}).get("version") == VERSION
        if not same:
            _draw(folder, scenes or SceneSet(), wanted)
    return folder


def _draw(folder: Path, scenes: SceneSet, recipe: dict) -> None:
    with generated(folder, recipe) as temporary:
        (temporary / "annotations").mkdir()
        for split, count in zip(SPLITS, (scenes.train, scenes.val), strict=True):
            (temporary / "images" / split).mkdir(parents=True)
            content = _draw_split(temporary / "images" / split, split, count, scenes)
            (temporary / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _draw_split(folder: Path, split: str, count: int, scenes: SceneSet) -> dict[str, list]:
    """Write the images of a split; return its annotations."""
    content: dict[str, list] = {
        "categories": [{"id": i, "name": kind} for i, kind in enumerate(KINDS, start=1)],
        "images": [],
        "annotations": [],
    }
    for number in tqdm(range(count), f"draw {split} scenes", leave=False, disable=None):
        rng = np.random.default_rng([scenes.seed, SPLITS.index(split), number])
        image, things = draw_street(rng, scenes.height, scenes.width)
        name = f"{number:06d}.jpg"
        write_jpeg(folder / name, image)
        height, width = image.shape[:2]
        content["images"].append(
            {"id": number + 1, "file_name": name, "height": height, "width": width}
        )
        for thing in things:
            left, top, right, bottom = thing.box
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number + 1,
                    "category_id": 1 + KINDS.index(thing.kind),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(thing.mask.sum()),
                    "iscrowd": 0,
                    "segmentation": count_runs(thing.mask),
                }
            )
    return content
