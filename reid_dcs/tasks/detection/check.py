"""Check of a data set: every annotation and every image, its faults and how each is handled."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from reid_dcs.errors import InputError
from reid_dcs.tasks.detection.data.annotations import (
    COUNTED,
    FATAL,
    HANDLED,
    Annotations,
    check_trainable,
)
from reid_dcs.tasks.detection.data.batches import load_image
from reid_dcs.tasks.detection.data.find import load_split

MAX_SHOWN = 5  # places printed for each finding


class SplitReport(NamedTuple):
    """What was found in a split."""

    annotations: Annotations
    unreadable: list[str]
    """Images that cannot be decoded, or have another size than the annotations say."""

    @property
    def usable(self) -> bool:
        """Whether every annotation and image can be used."""
        return not self.unreadable and not self.annotations.faults

    def __str__(self) -> str:
        annotations = self.annotations
        things = sum(len(image.things) for image in annotations.images)
        lines = [
            f"{annotations.file}: {len(annotations.images):,} images, {things:,} objects, "
            f"{len(annotations.categories)} categories"
        ]
        lines += _lines("error", FATAL, annotations.findings)
        unreadable = {"unreadable": "images that cannot be used"}
        lines += _lines("error", unreadable, {"unreadable": self.unreadable})
        lines += _lines("handled", HANDLED, annotations.findings)
        lines += _lines("counted", COUNTED, annotations.findings)
        return "\n".join(lines)


class Report(NamedTuple):
    """What was found in a data set."""

    splits: dict[str, SplitReport]
    refused: str
    """Why a training would refuse the splits together; empty if it would not."""

    @property
    def usable(self) -> bool:
        """Whether a training would start, and read every image."""
        return not self.refused and all(split.usable for split in self.splits.values())

    def __str__(self) -> str:
        refused = [f"error: {self.refused}"] if self.refused else []
        if "val" not in self.splits:
            refused.append("no split val: pass eval.split=train to a training")
        return "\n\n".join([*map(str, self.splits.values()), *refused])


def check(name: str, root: Path) -> Report:
    """Read the annotations of ``train``, and of ``val`` if there are any; decode every image.

    Args:
        name, root: see :func:`reid_dcs.tasks.detection.data.find.load_split`.

    Raises:
        InputError: there is no split ``train``, or an annotation file cannot be read.
    """
    reports = {}
    for split in ("train", "val"):
        if name == "coco" and split == "val" and not _has_split(root, split):
            continue
        annotations = load_split(name, root, split)
        unreadable = []
        for image in tqdm(annotations.images, f"check {split}", leave=False, disable=None):
            if os.path.isfile(image.path):
                try:
                    load_image(image)
                except InputError as error:
                    unreadable.append(str(error))
        reports[split] = SplitReport(annotations, unreadable)
    refused = ""
    try:
        # without a split val, a training can evaluate on the training images
        check_trainable(reports["train"].annotations, [*reports.values()][-1].annotations)
    except InputError as error:
        refused = str(error)
    return Report(reports, refused)


def _has_split(root: Path, split: str) -> bool:
    return any((Path(root) / "annotations").glob(f"instances_{split}*.json"))


def _lines(kind: str, titles: Mapping[str, str], findings: Mapping[str, list[str]]) -> list[str]:
    lines = []
    for fault, title in titles.items():
        places = findings.get(fault, [])
        if places:
            lines.append(f"{kind}: {len(places):,} {title}")
            lines += [f"  {place}" for place in places[:MAX_SHOWN]]
            if len(places) > MAX_SHOWN:
                lines.append(f"  and {len(places) - MAX_SHOWN:,} more")
    return lines
