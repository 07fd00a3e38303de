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
from reid_dcs.data.datasets.listing import Listing
from reid_dcs.data.image_files import open_image

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


class _Image(NamedTuple):
    """Result of opening an image file."""

    fault: str  # "", "unreadable" or "truncated"
    size: tuple[int, int] = (0, 0)  # height, width
    digest: bytes = b""  # hash of the decoded pixels


def check_dataset(name: str, root: str, options: Mapping[str, Any]) -> list[Finding]:
    """Check every file of a data set, with a progress bar.

    Args:
        name: name of the data set.
        root: folder of the data set, or a folder that contains it.
        options: options of the data set.

    Returns:
        the findings; empty if there are none.

    Raises:
        InputError: the data set is not found, or its name or an option is unknown.
    """
    dataset = find_dataset(name, options)
    listing = dataset.read(Path(root), **options)
    listed = {path for items in listing.splits.values() for path, *_ in items}
    images = _open_all(sorted({*listed, *listing.misnamed} - {*listing.missing}))
    unofficial = listing.unofficial()
    findings = {
        "missing file(s)": listing.missing,
        "misnamed file(s)": listing.misnamed,
        "unreadable image(s)": _with_fault(images, "unreadable"),
        "truncated image(s)": _with_fault(images, "truncated"),
        "odd-sized image(s)": _odd_sized(images),
        "duplicate image(s)": _duplicates(images),
        "identities in training and in test": _leaked_identities(listing, dataset._junk_pids),
        "queries without a match under another camera": _unmatched_queries(listing),
        "difference(s) from the official split": unofficial.split("; ") if unofficial else [],
    }
    return [Finding(fault, places) for fault, places in findings.items() if places]


def _open_all(paths: list[str]) -> dict[str, _Image]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(_open, paths)
        bar = tqdm(images, "check", len(paths), unit="img", leave=False, disable=None)
        return dict(zip(paths, bar, strict=True))


def _open(path: str) -> _Image:
    try:
        image = open_image(path)
    except (OSError, SyntaxError, ValueError):
        return _Image("unreadable")
    with image:
        try:
            rgb = image.convert("RGB")
        except (OSError, SyntaxError, ValueError):
            return _Image("truncated")
    size = rgb.size[::-1]
    return _Image("", size, hashlib.blake2b(rgb.tobytes() + repr(size).encode()).digest())


def _with_fault(images: dict[str, _Image], fault: str) -> list[str]:
    return [path for path, image in images.items() if image.fault == fault]


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
