"""The torchreid data set that is made of what a folder holds."""

import inspect
from pathlib import Path

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.held_out import hold_out
from reid_dcs.data.datasets.listing import Listing
from reid_dcs.errors import InputError


class ListedDataset(torchreid_data.ImageDataset):
    """A torchreid data set made of a :class:`Listing`; a subclass says how to list its folder.

    Training identities are relabelled from 0 in the order of their numbers.

    Args:
        root: folder of the data set, or one that holds it.
        kwargs: the keywords of ``read`` and torchreid's (``transform``, ``mode``, ``combineall``,
            ...); others are ignored, as torchreid passes every set's to each.

    Attributes:
        unofficial: how the counts differ from the official ones, or None.
        cameras_known: see :class:`Listing`.

    Raises:
        InputError: files are missing or misnamed, or a split is empty.
    """

    title = ""  # as its authors write it
    terms = ""  # of its photographs, said where they are shown
    example = "0002_c1s1_000451_03.jpg"  # of a file's name

    def __init__(self, root: str = "", **kwargs) -> None:
        own = {key: value for key, value in kwargs.items() if key in self.options()}
        listing = self.read(Path(root), **own)
        _refuse_faults(self.title, self.example, listing)
        self.unofficial, self.cameras_known = listing.unofficial(), listing.cameras_known
        label = {pid: i for i, pid in enumerate(sorted({pid for _, pid, _ in listing.train}))}
        train = [(path, label[pid], camera) for path, pid, camera in listing.train]
        super().__init__(train, listing.query, listing.gallery, **kwargs)

    @classmethod
    def read(cls, root: Path, *, held_out: float = 0.0, **options) -> Listing:
        """List the set; ``held_out`` of its training identities evaluate in place of its test.

        Raises:
            InputError: the set, or a part of it, is not there; see :func:`hold_out`.
        """
        listing = cls.list_files(root, **options)
        return hold_out(listing, held_out) if held_out else listing

    @classmethod
    def list_files(cls, root: Path, **options) -> Listing:
        """Find the set under ``root`` and list it; its keyword arguments are the set's options.

        Raises:
            InputError: the set, or a part of it, is not there.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the keywords that ``read`` takes."""
        parameters = inspect.signature(cls.list_files).parameters.values()
        return (*(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), "held_out")


def _refuse_faults(title: str, example: str, listing: Listing) -> None:
    for what, files, cure in (
        ("misnamed", listing.misnamed, f"rename them as in {example}, or remove them"),
        ("missing", listing.missing, "obtain the set again, whole"),
    ):
        if files:
            raise InputError(
                f"{len(files):,} {what} file(s) in {title}, such as {files[0]}: {cure}"
            )
    for split, items in listing.splits.items():
        if not items:
            raise InputError(f"no images in the {split} split of {title}")
