"""Several data sets as one: trained on together, and evaluated on each.

``market1501+msmt17`` is their name in settings, which accept ``[market1501,msmt17]``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.errors import InputError

SEPARATOR = "+"


class JointDataset(torchreid_data.ImageDataset):
    """The training images of several data sets, with identities and cameras kept apart.

    ``query`` and ``gallery`` hold the images of all; each data set is evaluated alone.

    Args:
        parts: the data sets by name.

    Attributes:
        parts: the data sets by name.
        unofficial, cameras_known, trained_on_test, warnings: see :class:`ListedDataset`.
    """

    def __init__(self, parts: Mapping[str, ListedDataset]) -> None:
        self.parts = dict(parts)
        train, pids, camids = [], 0, 0
        for number, part in enumerate(parts.values()):
            train += [(path, pids + pid, camids + cam, number) for path, pid, cam, _ in part.train]
            pids += part.num_train_pids
            camids += 1 + max((item[2] for item in part.train), default=-1)
        query, gallery = (
            [item for part in parts.values() for item in getattr(part, split)]
            for split in ("query", "gallery")
        )
        super().__init__(train, query, gallery, verbose=False)
        self.title = " + ".join(part.title for part in parts.values())
        differing = {name: part.unofficial for name, part in parts.items() if part.unofficial}
        self.unofficial = "; ".join(f"{name}: {what}" for name, what in differing.items()) or None
        self.cameras_known = all(part.cameras_known for part in parts.values())
        self.trained_on_test = any(part.trained_on_test for part in parts.values())
        self.warnings = [warning for part in parts.values() for warning in part.warnings]


def part_names(name: str) -> list[str]:
    """Names of the data sets that a name joins; one, for a single data set."""
    return name.split(SEPARATOR)


def options_of_parts(
    name: str, root: str, options: Mapping[str, Any]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Root and options of each part: those under its name, and those for all.

    ``{"held_out": 0.1, "msmt17": {"root": "other/folder"}}`` holds out identities of all, and
    finds MSMT17 in another folder.

    Raises:
        InputError: a part is named twice.
    """
    names = part_names(name)
    if len({*names}) < len(names):
        raise InputError(f"data.name={name}: a data set is named twice")
    common = {key: value for key, value in options.items() if key not in names}
    parts = {}
    for part in names:
        given = options.get(part, {})
        if not isinstance(given, Mapping):
            raise InputError(f"data.options.{part} must be options of {part}, not {given!r}")
        merged = common | dict(given)
        parts[part] = (str(merged.pop("root", root)), merged)
    return parts


def load_joint(
    name: str,
    root: str,
    options: Mapping[str, Any],
    load: Callable[[str, str, Mapping[str, Any]], ListedDataset],
) -> JointDataset:
    """Load the data sets that ``name`` joins, each with its options."""
    parts = options_of_parts(name, root, options)
    return JointDataset({part: load(part, *where) for part, where in parts.items()})
