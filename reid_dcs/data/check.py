"""Look at every file of a data set and say what is wrong with it."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from reid_dcs.data.datasets import find_dataset
from reid_dcs.data.datasets.listing import Listing

COMMON = 0.8  # a size that so many images share is the set's size
SMALLEST = 16  # pixels
SHOWN = 10  # of each finding


class Finding(NamedTuple):
    """One kind of fault, and each place that has it."""

    fault: str
    places: list[str]

    def __str__(self) -> str:
        shown = "".join(f"\n  {place}" for place in self.places[:SHOWN])
        rest = len(self.places) - SHOWN
        return f"{len(self.places):,} {self.fault}{shown}" + (
            f"\n  and {rest:,} more" if rest > 0 else ""
        )


class _Seen(NamedTuple):
    """What opening an image showed."""

    fault: str  # "", "unreadable" or "truncated"
    size: tuple[int, int] = (0, 0)  # height, width
    pixels: bytes = b""  # a digest


def check_dataset(name: str, root: str, options: Mapping[str, Any]) -> list[Finding]:
    """Open every image of a data set, with a progress bar.

    Returns:
        the findings; none if all is well.

    Raises:
        InputError: the set is not there, or its name or an option is unknown.
    """
    dataset = find_dataset(name, options)
    listing = dataset.read(Path(root), **options)
    paths = sorted({path for items in listing.splits.values() for path, *_ in items})
    seen = _look_at(sorted({*paths, *listing.misnamed} - {*listing.missing}))
    unofficial = listing.unofficial()
    found = {
        "missing file(s)": listing.missing,
        "misnamed file(s)": listing.misnamed,
        "unreadable image(s)": _with_fault(seen, "unreadable"),
        "truncated image(s)": _with_fault(seen, "truncated"),
        "odd-sized image(s)": _odd_sized(seen),
        "duplicate image(s)": _duplicates(seen),
        "identities in training and in test": _leaking(listing, dataset._junk_pids),
        "queries without a match under another camera": _unmatched(listing),
        "difference(s) from the official split": unofficial.split("; ") if unofficial else [],
    }
    return [Finding(fault, places) for fault, places in found.items() if places]


def _look_at(paths: list[str]) -> dict[str, _Seen]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = pool.map(_open, paths)
        bar = tqdm(seen, "check", len(paths), unit="img", leave=False, disable=None)
        return dict(zip(paths, bar, strict=True))


def _open(path: str) -> _Seen:
    try:
        image = Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return _Seen("unreadable")
    with image:
        try:
            rgb = image.convert("RGB")
        except (OSError, SyntaxError, ValueError):
            return _Seen("truncated")
    size = rgb.size[::-1]
    return _Seen("", size, hashlib.blake2b(rgb.tobytes() + repr(size).encode()).digest())


def _with_fault(seen: dict[str, _Seen], fault: str) -> list[str]:
    return [path for path, image in seen.items() if image.fault == fault]


def _odd_sized(seen: dict[str, _Seen]) -> list[str]:
    """Another size than the set's one size; where it has none: tiny, or wider than tall."""
    sizes = Counter(image.size for image in seen.values() if not image.fault)
    (common, count), *_ = sizes.most_common(1) or [((0, 0), 0)]
    uniform = count >= COMMON * sizes.total()

    def odd(height: int, width: int) -> bool:
        if uniform:
            return (height, width) != common
        return min(height, width) < SMALLEST or width > height

    return [
        f"{path}: {image.size[0]}x{image.size[1]}"
        + (f" instead of {common[0]}x{common[1]}" if uniform else "")
        for path, image in seen.items()
        if not image.fault and odd(*image.size)
    ]


def _duplicates(seen: dict[str, _Seen]) -> list[str]:
    """Images of the same pixels."""
    same = defaultdict(list)
    for path, image in seen.items():
        if not image.fault:
            same[image.pixels].append(path)
    return [" = ".join(paths) for paths in same.values() if len(paths) > 1]


def _leaking(listing: Listing, junk: list[int]) -> list[str]:
    trained = {pid for _, pid, _ in listing.train}
    tested = {pid for _, pid, _ in listing.query + listing.gallery}
    example = {pid: path for path, pid, _ in listing.query + listing.gallery}
    return [f"identity {pid}, {example[pid]}" for pid in sorted(trained & tested - {*junk})]


def _unmatched(listing: Listing) -> list[str]:
    cameras = defaultdict(set)
    for _, pid, camera in listing.gallery:
        cameras[pid].add(camera)
    return [path for path, pid, camera in listing.query if not cameras[pid] - {camera}]
