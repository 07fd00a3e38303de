"""Write the memory-mapped stores of a data set before a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_dcs.data.datasets import find_dataset, load_dataset
from reid_dcs.data.datasets.listing import SPLITS
from reid_dcs.data.store import ImageStore, store_file, store_prefix


def write_stores(
    name: str, root: str, options: Mapping[str, Any], height: int, width: int
) -> list[Path]:
    """Write the memory-mapped stores of a data set that are missing, damaged or out of date.

    Returns:
        the files of the training, query and gallery split; none of a split without images.

    Raises:
        InputError: the data set is missing or has unreadable images, or a file cannot be written.
    """
    required = () if find_dataset(name, options).may_lack_splits else SPLITS
    dataset = load_dataset(name, root, options, required)
    files = []
    for split in SPLITS:
        if items := getattr(dataset, split):
            file = store_file(store_prefix(root, name, options), split, height, width)
            ImageStore.mapped(items, height, width, file)
            files.append(file)
    return files
