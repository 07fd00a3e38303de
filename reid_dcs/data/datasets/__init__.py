"""Data sets by the names of configurations, entered in torchreid's list as ``dcs_<name>``."""

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.market1501 import Market1501
from reid_dcs.data.datasets.synthetic import Synthetic
from reid_dcs.errors import InputError

DATASETS: dict[str, type[torchreid_data.ImageDataset]] = {
    "market1501": Market1501,
    "synthetic": Synthetic,
}

for _name, _dataset in DATASETS.items():  # torchreid has a market1501 of its own
    torchreid_data.register_image_dataset(f"dcs_{_name}", _dataset)


def load_dataset(name: str, root: str) -> torchreid_data.ImageDataset:
    """The paths, identities and cameras of a data set.

    Raises:
        InputError: an unknown name, or not the expected files under ``root``.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name](root=root, verbose=False)
