"""Check that an output folder lies outside the data set."""

import os
from pathlib import Path

from reid_dcs.config.settings import ImagesConfig
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.files import check_outside


def check_outside_data(output: str | Path, data: ImagesConfig, dataset: ListedDataset) -> None:
    """Check that an output folder is not in a folder of the data set.

    These are the folder below ``data.root`` that holds all images, or ``data.root`` itself; of a
    data set whose images are elsewhere, the folders of the images; and the root of a ``folder``.

    Raises:
        InputError: it is.
    """
    items = [*dataset.train, *dataset.query, *dataset.gallery]
    parents = {os.path.realpath(parent) for parent in {os.path.dirname(item[0]) for item in items}}
    root = Path(os.path.realpath(data.root))
    common = Path(os.path.commonpath(parents)) if parents else root
    if common.is_relative_to(root):
        folders = {root.joinpath(*common.relative_to(root).parts[:1])}
    else:
        folders = {*map(Path, parents)}
    if data.name == "folder":
        folders.add(root)
    check_outside(output, sorted(folders))
