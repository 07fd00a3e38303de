"""What a data set's folder holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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
        departure: how it was made to differ from the official split; empty where it was not.
    """

    train: list[Item]
    query: list[Item]
    gallery: list[Item]
    misnamed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    official: Mapping[str, Counts] | None = None
    cameras_known: bool = True
    departure: str = ""

    @property
    def splits(self) -> dict[str, list[Item]]:
        return {"train": self.train, "query": self.query, "gallery": self.gallery}

    def unofficial(self) -> str | None:
        """How the split differs from the official one; None where it does not."""
        if self.departure:
            return self.departure
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
