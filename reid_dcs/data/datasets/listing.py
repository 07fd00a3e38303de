"""Listing of a data set: the images of each split, and the faults found while reading them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SPLITS = ("train", "query", "gallery")
Item = tuple[str, int, int]
"""Path, identity, and camera counted from 0."""


class Counts(NamedTuple):
    """Numbers of images, identities and cameras of a split."""

    images: int
    identities: int
    cameras: int

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Counts":
        """Count the images of a split."""
        return cls(len(items), *(len({item[i] for item in items}) for i in (1, 2)))


@dataclass(frozen=True)
class Listing:
    """Images of the three splits, and faults that are reported later.

    Attributes:
        train, query, gallery: images of the split. An identity number means the same person in
            all splits.
        misnamed: files whose names do not give identity and camera.
        missing: files named by the data set's own lists that do not exist.
        ignored: other files in the folders of images, by reason.
        alike: labels of a table that differ as words and are the same number, such as 1 and 01.
        official: counts of the official split; None if there is no official split.
        cameras_known: False if the cameras are unknown. Query and gallery images then have
            different camera numbers, so no image is excluded from a ranking.
        camera_names: names of the cameras by number; empty if they are called 1, 2, ...
        identity_names: names of the identities by number; empty if they are called by their number.
        difference: intended difference from the official split; empty if there is none.
        trained_on_test: the test images are also among the training images.
    """

    train: list[Item]
    query: list[Item]
    gallery: list[Item]
    misnamed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    ignored: Mapping[str, list[str]] = field(default_factory=dict)
    alike: list[str] = field(default_factory=list)
    official: Mapping[str, Counts] | None = None
    cameras_known: bool = True
    camera_names: Sequence[str] = ()
    identity_names: Mapping[int, str] = field(default_factory=dict)
    difference: str = ""
    trained_on_test: bool = False

    @property
    def splits(self) -> dict[str, list[Item]]:
        """Images by name of the split."""
        return {split: getattr(self, split) for split in SPLITS}

    def unofficial(self) -> str | None:
        """Describe the differences from the official split; None if there are none."""
        if self.difference:
            return self.difference
        differences = []
        for split, official in (self.official or {}).items():
            differences += [
                f"{split} has {have:,} {what} instead of {want:,}"
                for what, have, want in zip(
                    Counts._fields, Counts.of(self.splits[split]), official, strict=True
                )
                if have != want
            ]
        return "; ".join(differences) or None
