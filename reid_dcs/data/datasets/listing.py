"""What a data set's folder holds, and the torchreid data set that is made of it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torchreid import data as torchreid_data

from reid_dcs.errors import InputError

Item = tuple[str, int, int]
"""Path, identity, camera (from 0)."""


class Counts(NamedTuple):
    """Of one split."""

    images: int
    identities: int
    cameras: int


@dataclass(frozen=True)
class Listing:
    """Everything found, before anything is refused.

    Attributes:
        train, query, gallery: the images. Training and test identities are numbered together:
            one number in both is one person in both.
        misnamed: files whose names say no identity or camera.
        missing: files that the data set's own list names and that are not there.
        official: counts of the official splits; None where there are none.
        cameras_known: False where nobody said which camera took which image. Queries then have
            another camera than the gallery, so that nothing is left out of a ranking.
    """

    train: list[Item]
    query: list[Item]
    gallery: list[Item]
    misnamed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    official: Mapping[str, Counts] | None = None
    cameras_known: bool = True

    @property
    def splits(self) -> dict[str, list[Item]]:
        return {"train": self.train, "query": self.query, "gallery": self.gallery}

    def unofficial(self) -> str | None:
        """How the counts differ from the official ones; None where they do not."""
        wrong = []
        for split, official in (self.official or {}).items():
            items = self.splits[split]
            found = Counts(len(items), *(len({item[i] for item in items}) for i in (1, 2)))
            wrong += [
                f"{split} has {have:,} {what} instead of {want:,}"
                for what, have, want in zip(Counts._fields, found, official, strict=True)
                if have != want
            ]
        return "; ".join(wrong) or None


class ListedDataset(torchreid_data.ImageDataset):
    """A torchreid data set made of a :class:`Listing`; a subclass says how to list its folder.

    Training identities are relabelled from 0 in the order of their numbers.

    Args:
        root: folder of the data set, or one that holds it.
        kwargs: the keywords of ``list_files`` and torchreid's (``transform``, ``mode``,
            ``combineall``, ...); others are ignored, as torchreid passes every set's to each.

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
        listing = self.list_files(Path(root), **own)
        _refuse_faults(self.title, self.example, listing)
        self.unofficial, self.cameras_known = listing.unofficial(), listing.cameras_known
        label = {pid: i for i, pid in enumerate(sorted({pid for _, pid, _ in listing.train}))}
        train = [(path, label[pid], camera) for path, pid, camera in listing.train]
        super().__init__(train, listing.query, listing.gallery, **kwargs)

    @classmethod
    def list_files(cls, root: Path, **options) -> Listing:
        """Find the set under ``root`` and list it; its keyword arguments are the set's options.

        Raises:
            InputError: the set, or a part of it, is not there.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the keywords that ``list_files`` takes."""
        parameters = inspect.signature(cls.list_files).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


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
