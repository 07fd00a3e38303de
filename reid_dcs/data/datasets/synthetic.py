"""Synthetic data set: generated images of people, in Market-1501's layout.

Identities differ in clothes, patterns, hair and bags. Six cameras differ in color, light, blur,
background, scale and occlusion, so that color alone does not identify a person. The seed
determines every image.
"""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Listing
from reid_dcs.data.datasets.market_layout import FOLDERS, list_market_layout
from reid_dcs.data.generated import generated, generating, read_recipe
from reid_dcs.data.image_files import write_jpeg
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person

HEIGHT, WIDTH = 128, 64
VERSION = 1  # of the generator: a folder with another version is generated again


@dataclass(frozen=True)
class Synthesis:
    """Size and seed of a synthetic data set. Training and test identities are disjoint.

    Attributes:
        train_identities, test_identities: numbers of identities.
        pictures: number of images per identity and camera; one of each test identity's is a query.
        seed: random seed.
    """

    train_identities: int = 128
    test_identities: int = 48
    pictures: int = 3
    seed: int = 0


class Synthetic(ListedDataset):
    """The synthetic data set in ``root/synthetic``, generated if it does not exist.

    For another size or seed, call :func:`draw_dataset` first.

    Args:
        root: folder that contains ``synthetic``, or that one itself.
        kwargs: see :class:`ListedDataset`.

    Raises:
        InputError: the folder cannot be written, or contains something else.
    """

    title = "synthetic"

    @classmethod
    def list_files(cls, root: Path, required: Collection[str] = SPLITS) -> Listing:
        folder = root if read_recipe(root) else root / "synthetic"
        if not _is_current(folder):
            with generating(folder):
                if not _is_current(folder):  # no other process has drawn it meanwhile
                    _draw_dataset(folder, Synthesis())
        return list_market_layout(folder, required)


def draw_dataset(folder: Path, synthesis: Synthesis) -> None:
    """Generate a data set atomically: in a temporary folder that is renamed to ``folder``.

    Args:
        folder: target; an older generated data set there is replaced.
        synthesis: size and seed.

    Raises:
        InputError: the folder cannot be written, or contains something else.
    """
    with generating(folder):
        _draw_dataset(folder, synthesis)


def _draw_dataset(folder: Path, synthesis: Synthesis) -> None:
    with generated(folder, {"version": VERSION, **asdict(synthesis)}) as temporary:
        for name in FOLDERS.values():
            (temporary / name).mkdir()
        total = synthesis.train_identities + synthesis.test_identities
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                drawn = pool.map(lambda i: _draw_identity(temporary, synthesis, i), range(total))
                list(tqdm(drawn, "generate people", total, leave=False, disable=None))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _draw_identity(temporary: Path, synthesis: Synthesis, identity: int) -> None:
    """Write all images of one identity, named as in Market-1501."""
    random = np.random.default_rng([synthesis.seed, identity])
    person = sample_person(random)
    for number, camera in enumerate(CAMERAS, 1):
        for shot in range(synthesis.pictures):
            if identity < synthesis.train_identities:
                split = FOLDERS["train"]
            else:
                split = FOLDERS["query" if shot == 0 else "gallery"]
            picture = photograph(person, camera, random, height=HEIGHT, width=WIDTH)
            path = temporary / split / f"{identity + 1:04d}_c{number}s1_{shot:06d}_00.jpg"
            write_jpeg(path, picture)


def _is_current(folder: Path) -> bool:
    return (read_recipe(folder) or {}).get("version") == VERSION
