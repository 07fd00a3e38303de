"""Base class of the data sets: a torchreid data set made from a listing of files."""

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.combined import combine_all
from reid_dcs.data.datasets.held_out import hold_out
from reid_dcs.data.datasets.listing import SPLITS, Listing
from reid_dcs.data.datasets.names import UNEXPECTED
from reid_dcs.errors import InputError


class ListedDataset(torchreid_data.ImageDataset):
    """A torchreid data set made from a :class:`Listing`; subclasses implement ``list_files``.

    Training identities are relabeled from 0 in ascending order.

    Args:
        root: folder of the data set, or a folder that contains it.
        required: splits that must have images; others may be missing.
        kwargs: options of the data set, and torchreid's arguments (``transform``, ``mode``, ...).
            Others are ignored, because torchreid passes the options of every data set to all.

    Attributes:
        title: name as its authors write it.
        terms: terms of use of the images, shown where they are shown.
        example: correct file name, for error messages.
        may_lack_splits: a copy without some splits is as it should be.
        unofficial: differences from the official split; None if there are none.
        cameras_known, camera_names, identity_names, trained_on_test: see :class:`Listing`; names
            of identities are by their number in query and gallery.
        warnings: what a user should know before the data set is used, one line each.

    Raises:
        InputError: files are missing or misnamed, or a split is empty.
    """

    title = ""
    terms = ""
    example = "0002_c1s1_000451_03.jpg"
    may_lack_splits = False

    def __init__(
        self, root: str = "", *, required: Collection[str] = SPLITS, **kwargs: Any
    ) -> None:
        options = {key: kwargs.pop(key) for key in self.options() if key in kwargs}
        listing = self.read(Path(root), required, **options)
        _raise_on_faults(self.title, self.example, listing, required)
        self.unofficial, self.cameras_known = listing.unofficial(), listing.cameras_known
        self.camera_names, self.identity_names = listing.camera_names, listing.identity_names
        self.trained_on_test, self.warnings = listing.trained_on_test, _warnings(listing)
        label = {pid: i for i, pid in enumerate(sorted({pid for _, pid, _ in listing.train}))}
        train = [(path, label[pid], camera) for path, pid, camera in listing.train]
        splits = {"train": train, "query": listing.query, "gallery": listing.gallery}
        # torchreid looks at the first image of each split
        super().__init__(*(items or [("", 0, 0)] for items in splits.values()), **kwargs)
        for split in (split for split, items in splits.items() if not items):
            setattr(self, split, [])
        if not train:
            self.num_train_pids = self.num_train_cams = 0
        self.data = getattr(self, self.mode)

    @classmethod
    def read(
        cls,
        root: Path,
        required: Collection[str] = SPLITS,
        *,
        held_out: float = 0.0,
        combineall: bool = False,
        **options: Any,
    ) -> Listing:
        """List the data set, with its splits optionally replaced.

        Args:
            root: folder of the data set, or a folder that contains it.
            required: splits that must exist.
            held_out: fraction of the training identities to evaluate on; 0 uses the test split.
            combineall: train on the test images, too.
            options: options of the data set.

        Raises:
            InputError: the data set is missing or incomplete; see also :func:`hold_out`.
        """
        if held_out and combineall:
            raise InputError(
                "data.options: held_out evaluates on training identities, combineall trains on the "
                "test images: choose one of them"
            )
        needed = ("train",) if held_out else SPLITS if combineall else required
        listing = cls.list_files(root, needed, **options)
        _refuse_large_numbers(listing)
        if held_out:
            return hold_out(listing, held_out)
        return combine_all(listing, cls._junk_pids) if combineall else listing

    @classmethod
    def list_files(
        cls, root: Path, required: Collection[str] = SPLITS, *args: Any, **options: Any
    ) -> Listing:
        """Find the data set under ``root`` and list its images, of all splits that there are.

        The keyword-only arguments of a subclass are the options of its data set; it has no other
        arguments than these and the two here.

        Raises:
            InputError: the data set is missing, or a required split is.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, type]:
        """Names and types of the options that ``read`` takes."""
        parameters = inspect.signature(cls.list_files).parameters.values()
        return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY} | {
            "held_out": float,
            "combineall": bool,
        }


def _refuse_large_numbers(listing: Listing) -> None:
    """Identities and cameras become tensors of 64-bit integers."""
    for items in listing.splits.values():
        for path, *numbers in items:
            if any(not -(2**63) <= number < 2**63 for number in numbers):
                raise InputError(f"{path}: its identity or camera has more than 64 bits: renumber")


def _warnings(listing: Listing) -> list[str]:
    warnings = [
        f"{labels} are different words, and so are counted as two" for labels in listing.alike
    ]
    for reason, paths in listing.ignored.items():
        if reason in UNEXPECTED:
            warnings.append(f"{len(paths):,} {reason}, such as {paths[0]}: ignored")
    return warnings


def _raise_on_faults(title: str, example: str, listing: Listing, required: Collection[str]) -> None:
    for fault, files, advice in (
        ("misnamed", listing.misnamed, f"rename them as in {example}, or remove them"),
        ("missing", listing.missing, "obtain the complete data set again"),
    ):
        if files:
            raise InputError(
                f"{len(files):,} {fault} file(s) in {title}, such as {files[0]}: {advice}"
            )
    for split, items in listing.splits.items():
        if not items and split in required:
            raise InputError(
                f"no images in the {split} split of {title}: add some, or change --root"
            )
