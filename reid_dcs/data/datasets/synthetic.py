"""The embedded data set: people that nobody photographed, in Market-1501's layout.

Identities are drawn, not photographed: clothes, patterns, hair and bags make them. Six cameras
differ in colour, light, blur, background, scale and occlusion, so that colour alone does not
tell who is who. Everything follows from the seed.
"""

import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import Listing
from reid_dcs.data.datasets.market_layout import SPLITS, list_market_layout
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.errors import InputError

HEIGHT, WIDTH = 128, 64
VERSION = 1  # of the drawing: a folder of another version is drawn anew


@dataclass(frozen=True)
class Synthesis:
    """What is drawn. Training and test identities are disjoint.

    Attributes:
        train_identities, test_identities: how many people.
        pictures: of each person under each camera; of a test person's, one is a query.
        seed: of everything.
    """

    train_identities: int = 128
    test_identities: int = 48
    pictures: int = 3
    seed: int = 0


class Synthetic(ListedDataset):
    """The generated data set, in ``root/synthetic``; drawn when it is not there yet.

    Another size or seed: call :func:`draw_dataset` first.

    Args:
        root: folder of the data sets.
        kwargs: torchreid's; see :class:`ListedDataset`.

    Raises:
        InputError: the folder cannot be written, or is something else.
    """

    title = "synthetic"

    @classmethod
    def list_files(cls, root: Path) -> Listing:
        folder = root / "synthetic"
        if _version_of(folder) != VERSION:
            draw_dataset(folder, Synthesis())
        return list_market_layout(folder)


def draw_dataset(folder: Path, synthesis: Synthesis) -> None:
    """Draw the whole set beside ``folder``, then put it in its place: half a set never shows.

    Raises:
        InputError: the place cannot be written, or holds something else.
    """
    if folder.exists() and _version_of(folder) is None:
        raise InputError(f"{folder} is not a generated data set: move it away or change --root")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".synthetic-"))
    except OSError as error:
        raise InputError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        for name in SPLITS.values():
            (workshop / name).mkdir()
        everyone = synthesis.train_identities + synthesis.test_identities
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(lambda i: _draw_identity(workshop, synthesis, i), range(everyone))
            list(tqdm(drawn, "draw people", everyone, leave=False, disable=None))
        (workshop / "recipe.json").write_text(json.dumps({"version": VERSION, **asdict(synthesis)}))
        workshop.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        workshop.rename(folder)
    except BaseException:
        shutil.rmtree(workshop, ignore_errors=True)
        raise


def _draw_identity(workshop: Path, synthesis: Synthesis, identity: int) -> None:
    """All pictures of one person, named as Market-1501 names them."""
    random = np.random.default_rng([synthesis.seed, identity])
    person = sample_person(random)
    for number, camera in enumerate(CAMERAS, 1):
        for shot in range(synthesis.pictures):
            if identity < synthesis.train_identities:
                split = SPLITS["train"]
            else:
                split = SPLITS["query" if shot == 0 else "gallery"]
            picture = photograph(person, camera, random, height=HEIGHT, width=WIDTH)
            path = workshop / split / f"{identity + 1:04d}_c{number}s1_{shot:06d}_00.jpg"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise InputError(f"cannot write {path}: is the disk full?")


def _version_of(folder: Path) -> int | None:
    """The version of the drawing that a folder holds; None where it holds none."""
    try:
        return json.loads((folder / "recipe.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return None
