"""Base class of the data sets: a torchreid data set made from a listing of files."""

import inspect
from pathlib import Path
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.held_out import hold_out
from reid_dcs.data.datasets.listing import Listing
from reid_dcs.errors import InputError


class ListedDataset(torchreid_data.ImageDataset):
    """A torchreid data set made from a :class:`Listing`; subclasses implement ``list_files``.

    Training identities are relabeled from 0 in ascending order.

    Args:
        root: folder of the data set, or a folder that contains it.
        kwargs: options of the data set, and torchreid's arguments (``transform``, ``mode``,
            ``combineall``, ...). Others are ignored, because torchreid passes the options of
            every data set to all.

    Attributes:
        title: name as its authors write it.
        terms: terms of use of the images, shown where they are shown.
        example: correct file name, for error messages.
        unofficial: differences from the official split; None if there are none.
        cameras_known: see :class:`Listing`.

    Raises:
        InputError: files are missing or misnamed, or a split is empty.
    """

    title = ""
    terms = ""
    example = "0002_c1s1_000451_03.jpg"

    def __init__(self, root: str = "", **kwargs) -> None:
        options = {key: value for key, value in kwargs.items() if key in self.options()}
        listing = self.read(Path(root), **options)
        _raise_on_faults(self.title, self.example, listing)
        self.unofficial, self.cameras_known = listing.unofficial(), listing.cameras_known
        label = {pid: i for i, pid in enumerate(sorted({pid for _, pid, _ in listing.train}))}
        train = [(path, label[pid], camera) for path, pid, camera in listing.train]
        super().__init__(train, listing.query, listing.gallery, **kwargs)

    @classmethod
    def read(cls, root: Path, *, held_out: float = 0.0, **options) -> Listing:
        """List the data set, with the test split optionally replaced by training identities.

        Args:
            root: folder of the data set, or a folder that contains it.
            held_out: fraction of the training identities to evaluate on; 0 uses the test split.
            options: options of the data set.

        Raises:
            InputError: the data set is missing or incomplete; see also :func:`hold_out`.
        """
        listing = cls.list_files(root, **options)
        _refuse_large_numbers(listing)
        return hold_out(listing, held_out) if held_out else listing

    @classmethod
    def list_files(cls, root: Path, *args: Any, **options: Any) -> Listing:
        """Find the data set under ``root`` and list its images.

        The keyword-only arguments of a subclass are the options of its data set; it has no other
        arguments than these and the root.

        Raises:
            InputError: the data set is missing or incomplete.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, type]:
        """Names and types of the options that ``read`` takes."""
        parameters = inspect.signature(cls.list_files).parameters.values()
        return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY} | {
            "held_out": float
        }


def _refuse_large_numbers(listing: Listing) -> None:
    """Identities and cameras become tensors of 64-bit integers."""
    for items in listing.splits.values():
        for path, *numbers in items:
            if any(not -(2**63) <= number < 2**63 for number in numbers):
                raise InputError(f"{path}: its identity or camera has more than 64 bits: renumber")


def _raise_on_faults(title: str, example: str, listing: Listing) -> None:
    for fault, files, advice in (
        ("misnamed", listing.misnamed, f"rename them as in {example}, or remove them"),
        ("missing", listing.missing, "obtain the complete data set again"),
    ):
        if files:
            raise InputError(
                f"{len(files):,} {fault} file(s) in {title}, such as {files[0]}: {advice}"
            )
    for split, items in listing.splits.items():
        if not items:
            raise InputError(
                f"no images in the {split} split of {title}: add some, or change --root"
            )
