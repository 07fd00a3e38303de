"""Data set check: open every image and report missing, damaged, duplicate and mislabeled files."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from reid_dcs.data.datasets import find_dataset
from reid_dcs.data.datasets.listing import SPLITS, Counts, Item, Listing
from reid_dcs.data.datasets.names import OTHER_FORMAT
from reid_dcs.data.decode import read_rgb
from reid_dcs.data.image_files import ImageRefused, damage_as_oserror, open_image
from reid_dcs.data.rgb import orientation

UNIFORM_FRACTION = 0.8  # if this fraction of the images has one size, other sizes are odd
MIN_SIDE = 16  # pixels; in a set of many sizes, a smaller image is odd
MAX_SHOWN = 10  # places printed for each finding


class Finding(NamedTuple):
    """One kind of fault.

    Attributes:
        fault: name of the fault, to follow a number.
        places: every file, identity or split that has it.
    """

    fault: str
    places: list[str]

    def __str__(self) -> str:
        lines = [f"{len(self.places):,} {self.fault}"]
        lines += [f"  {place}" for place in self.places[:MAX_SHOWN]]
        if len(self.places) > MAX_SHOWN:
            lines.append(f"  and {len(self.places) - MAX_SHOWN:,} more")
        return "\n".join(lines)


class Report(NamedTuple):
    """Result of a check."""

    findings: list[Finding]
    """Faults; empty if there are none."""
    ignored: list[Finding]
    """Files in the folders of images that are not read, by reason."""
    kinds: dict[str, int]
    """Numbers of images of each format and mode, and of those that EXIF data turns."""
    counts: dict[str, Counts]
    """Numbers of images, identities and cameras of each split."""
    cameras_known: bool

    def __str__(self) -> str:
        """Findings, ignored files, kinds of images, and last the table of the splits."""
        lines = [*map(str, self.findings)]
        lines += [f"ignored: {each}" for each in self.ignored]
        kinds = sorted(self.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        if kinds:
            lines.append("images: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds))
        lines.append(f"{'':8}" + "".join(f"{name:>12}" for name in Counts._fields))
        for split, counts in self.counts.items():
            cells = [f"{number:,}" for number in counts]
            if not self.cameras_known:
                cells[-1] = "unknown"
            lines.append(f"{split:8}" + "".join(f"{cell:>12}" for cell in cells))
        return "\n".join(lines)


class _Image(NamedTuple):
    """Result of opening an image file."""

    fault: str  # "", "unreadable" or "truncated"
    size: tuple[int, int] = (0, 0)  # height, width
    digest: bytes = b""  # hash of the decoded pixels
    kind: str = ""  # format and mode, such as JPEG RGB
    turned: bool = False  # by the EXIF orientation
    reason: str = ""  # why its numbers are refused


def inspect_dataset(name: str, root: str, options: Mapping[str, Any]) -> Report:
    """Check every file of a data set, with a progress bar, and count its splits.

    Args:
        name: name of the data set.
        root: folder of the data set, or a folder that contains it.
        options: options of the data set.

    Raises:
        InputError: the data set is not found, or its name or an option is unknown.
    """
    dataset = find_dataset(name, options)
    # an official data set must be whole; a custom one may have only what its user needs
    listing = dataset.read(Path(root), () if dataset.may_lack_splits else SPLITS, **options)
    listed = {path for items in listing.splits.values() for path, *_ in items}
    images = _open_all(sorted({*listed, *listing.misnamed} - {*listing.missing}))
    unofficial = listing.unofficial()
    findings = {
        "missing file(s)": listing.missing,
        "misnamed file(s)": listing.misnamed,
        OTHER_FORMAT: listing.ignored.get(OTHER_FORMAT, []),
        "unreadable image(s)": _with_fault(images, "unreadable"),
        "truncated image(s)": _with_fault(images, "truncated"),
        "odd-sized image(s)": _odd_sized(images),
        "duplicate image(s)": _duplicates(images),
        "image(s) under several identities": _several_identities(listing, images),
        "image(s) listed twice in a split": _listed_twice(listing),
        "label(s) that are equal as numbers and different as words": listing.alike,
        "identities in training and in test": _leaked_identities(listing, dataset._junk_pids),
        "queries without a match under another camera": _unmatched_queries(listing),
        "unusable split(s)": _unusable(listing),
        "difference(s) from the official split": unofficial.split("; ") if unofficial else [],
    }
    ignored = [
        Finding(reason, sorted(paths))
        for reason, paths in sorted(listing.ignored.items())
        if reason != OTHER_FORMAT
    ]
    return Report(
        [Finding(fault, places) for fault, places in findings.items() if places],
        ignored,
        _kinds(images),
        {split: Counts.of(items) for split, items in listing.splits.items()},
        listing.cameras_known,
    )


def _open_all(paths: list[str]) -> dict[str, _Image]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(_open, paths)
        bar = tqdm(images, "check", len(paths), unit="img", leave=False, disable=None)
        return dict(zip(paths, bar, strict=True))


def _open(path: str) -> _Image:
    try:
        with open_image(path) as image, damage_as_oserror():
            kind, turned = f"{image.format} {image.mode}", orientation(image) != 1
    except OSError:
        return _Image("unreadable")
    try:
        rgb = read_rgb(path)
    except ImageRefused as error:
        return _Image("unreadable", reason=f"{kind}: {error}")
    except OSError:
        return _Image("truncated")
    size = rgb.size[::-1]
    digest = hashlib.blake2b(rgb.tobytes() + repr(size).encode()).digest()
    return _Image("", size, digest, kind, turned)


def _kinds(images: Mapping[str, _Image]) -> dict[str, int]:
    kinds = Counter(image.kind for image in images.values() if not image.fault)
    kinds["turned upright as their EXIF orientation says"] = sum(i.turned for i in images.values())
    return {kind: count for kind, count in kinds.items() if count}


def _with_fault(images: dict[str, _Image], fault: str) -> list[str]:
    return [
        f"{path} ({image.reason})" if image.reason else path
        for path, image in images.items()
        if image.fault == fault
    ]


def _odd_sized(images: dict[str, _Image]) -> list[str]:
    """Images of another size than nearly all; if sizes vary, tiny or landscape images."""
    sizes = Counter(image.size for image in images.values() if not image.fault)
    (common, count), *_ = sizes.most_common(1) or [((0, 0), 0)]
    uniform = count >= UNIFORM_FRACTION * sizes.total()

    def is_odd(height: int, width: int) -> bool:
        if uniform:
            return (height, width) != common
        return min(height, width) < MIN_SIDE or width > height

    expected = f" instead of {common[0]}x{common[1]}" if uniform else ""
    return [
        f"{path}: {image.size[0]}x{image.size[1]}{expected}"
        for path, image in images.items()
        if not image.fault and is_odd(*image.size)
    ]


def _duplicates(images: dict[str, _Image]) -> list[str]:
    """Groups of images with identical pixels."""
    by_digest = defaultdict(list)
    for path, image in images.items():
        if not image.fault:
            by_digest[image.digest].append(path)
    return [" = ".join(paths) for paths in by_digest.values() if len(paths) > 1]


def _several_identities(listing: Listing, images: Mapping[str, _Image]) -> list[str]:
    """Images, by file or by pixels, that are listed under more than one identity."""
    pids: dict[bytes | str, set[int]] = defaultdict(set)
    paths: dict[bytes | str, set[str]] = defaultdict(set)
    for path, pid, _ in (item for items in listing.splits.values() for item in items):
        image = images.get(path)
        key = image.digest if image and not image.fault else os.path.realpath(path)
        pids[key].add(pid)
        paths[key].add(path)
    return [
        f"{' = '.join(sorted(paths[key]))}: identities {', '.join(map(str, sorted(found)))}"
        for key, found in pids.items()
        if len(found) > 1
    ]


def _listed_twice(listing: Listing) -> list[str]:
    def twice(split: str, items: list[Item]) -> list[str]:
        counts = Counter(path for path, *_ in items)
        return [f"{path} in {split}" for path, count in counts.items() if count > 1]

    return [place for split, items in listing.splits.items() for place in twice(split, items)]


def _unusable(listing: Listing) -> list[str]:
    """Splits that neither a training nor an evaluation could use."""
    train, query, gallery = listing.splits.values()
    places = []
    if bool(query) != bool(gallery):
        empty, other = ("gallery", "query") if query else ("query", "gallery")
        places.append(f"{other} without {empty}")
    if not train and not query and not gallery:
        places.append("no images in any split")
    if len({pid for _, pid, _ in train}) == 1:
        places.append("train has a single identity: are the names read as they are meant?")
    return places


def _leaked_identities(listing: Listing, junk_pids: list[int]) -> list[str]:
    train_pids = {pid for _, pid, _ in listing.train}
    example = {pid: path for path, pid, _ in listing.query + listing.gallery}
    leaked = train_pids & {*example} - {*junk_pids}
    return [f"identity {pid}, {example[pid]}" for pid in sorted(leaked)]


def _unmatched_queries(listing: Listing) -> list[str]:
    cameras = defaultdict(set)
    for _, pid, camera in listing.gallery:
        cameras[pid].add(camera)
    return [path for path, pid, camera in listing.query if not cameras[pid] - {camera}]
