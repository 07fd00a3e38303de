"""Draw the pictures of docs/visual.md: networks of the small Table 7 on new generated people.

    python docs/draw_attention.py FOLDER

FOLDER is the output of configs/ablation/table7_small.yaml. Writes docs/gradcam.jpg, affinity.jpg,
windows.jpg and channels.jpg.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.visual import compare

PEOPLE = 10
SIZES = {"gradcam": 700, "affinity": 1100, "windows": 520, "channels": 1100}  # width in pixels
QUALITY = 88


def write_people(folder: Path) -> list[str]:
    """Write a picture of each new person under each camera; return those of the first camera."""
    random = np.random.default_rng(8)
    for number in range(PEOPLE):
        person = sample_person(random)
        for camera, settings in enumerate(CAMERAS):
            picture = photograph(person, settings, random)  # RGB
            cv2.imwrite(str(folder / f"{number}_c{camera}.png"), picture[..., ::-1])
    return [str(folder / f"{number}_c0.png") for number in range(PEOPLE)]


def main(folder: Path) -> None:
    weights = {
        row: str(folder / row / "seed-1" / "checkpoint.pt")
        for row in ("base", "sa", "dcs_sw", "dcs")
    }
    with tempfile.TemporaryDirectory() as name:
        people, output = Path(name) / "people", Path(name) / "output"
        people.mkdir()
        shown = write_people(people)
        sa, dcs, points = weights["sa"], weights["dcs"], [(30, 50), (25, 100)]
        pages = {
            "gradcam": compare.gradcam(
                [*weights.values()], shown[:3], str(output), layer="trunk.attentions.2"
            ),
            "affinity": compare.affinity([sa, dcs], shown[:1], str(output), at=points),
            "windows": compare.windows([dcs], shown[:1], str(output)),
        }
        compare.windows([dcs], [str(people)], str(output / "all"))
        pages["channels"] = [output / "all" / "channels-1.png"]
        for name, (file, *_) in pages.items():
            picture = Image.open(file).convert("RGB")
            size = (SIZES[name], round(picture.height * SIZES[name] / picture.width))
            picture.resize(size, Image.Resampling.LANCZOS).save(
                Path(__file__).with_name(f"{name}.jpg"), quality=QUALITY
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
