"""Data sets by name, registered with torchreid as ``dcs_<name>``."""

from collections.abc import Collection, Mapping
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.cuhk03 import CUHK03
from reid_dcs.data.datasets.dukemtmcreid import DukeMTMCreID
from reid_dcs.data.datasets.folder import Folder
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS
from reid_dcs.data.datasets.market1501 import Market1501
from reid_dcs.data.datasets.msmt17 import MSMT17
from reid_dcs.data.datasets.synthetic import Synthetic
from reid_dcs.errors import InputError

DATASETS: dict[str, type[ListedDataset]] = {
    "market1501": Market1501,
    "dukemtmcreid": DukeMTMCreID,
    "msmt17": MSMT17,
    "cuhk03": CUHK03,
    "folder": Folder,
    "synthetic": Synthetic,
}

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

for _name, _dataset in DATASETS.items():  # the plain names are torchreid's own loaders
    torchreid_data.register_image_dataset(f"dcs_{_name}", _dataset)


def load_dataset(
    name: str,
    root: str,
    options: Mapping[str, Any] | None = None,
    required: Collection[str] = SPLITS,
) -> ListedDataset:
    """List the images of a data set, with identities and cameras.

    Args:
        name: key of :data:`DATASETS`.
        root: folder of the data set, or a folder that contains it.
        options: options of the data set, such as ``{"cuhk03_labeled": True}``.
        required: splits that must have images: an evaluation needs no ``train``.

    Raises:
        InputError: unknown name or option, or expected files are missing under ``root``.
    """
    dataset = find_dataset(name, options or {})
    return dataset(root=root, verbose=False, required=required, **(options or {}))


def find_dataset(name: str, options: Mapping[str, Any]) -> type[ListedDataset]:
    """Look up the class of a data set and check the names and types of its options.

    Raises:
        InputError: unknown name or option, or an option of another type.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    known = DATASETS[name].options()
    for option, value in options.items():
        if option not in known:
            raise InputError(
                f"unknown option {option!r} of data set {name}; "
                f"known: {', '.join(known) if known else 'none'}"
            )
        expected = known[option]
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise InputError(f"data.options.{option} must be {_KINDS[expected]}, not {value!r}")
    return DATASETS[name]
