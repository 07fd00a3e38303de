"""Fingerprint of the data of a run, which a resumed run must find unchanged."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.listing import SPLITS
from reid_dcs.errors import InputError
from reid_dcs.files import regular

_SAMPLE = 4096  # bytes of a file, at its start and at its end

DataFingerprint = dict[str, Any]
"""``digest``, and for each split the numbers of images, identities and cameras; plain types."""


def fingerprint_data(dataset: torchreid_data.ImageDataset) -> DataFingerprint:
    """Fingerprint of the names, sizes, identities and cameras of all images of a data set.

    Of a file, its first and last 4 KiB are read, so that other images of the same size are found.
    Names are relative to the folder that all images have in common: the data set may be moved.
    """
    splits = {split: getattr(dataset, split) for split in SPLITS}
    paths = sorted({item[0] for items in splits.values() for item in items})
    folder = os.path.dirname(os.path.commonprefix(paths))
    sampled = sample_files(paths)
    digest = hashlib.blake2b(digest_size=16)
    for split, items in splits.items():
        digest.update(f"\n{split}".encode())
        for path, pid, camera, *_ in items:
            line = f"\n{path.removeprefix(folder)} {pid} {camera} {sampled[path]}"
            digest.update(line.encode(errors="surrogateescape"))
    counts = {
        split: [len(items), *(len({item[i] for item in items}) for i in (1, 2))]
        for split, items in splits.items()
    }
    return {"digest": digest.hexdigest(), **counts}


def check_same_data(
    stored: Mapping[str, DataFingerprint], now: Mapping[str, DataFingerprint], source: object
) -> None:
    """Check that a run continues with its data.

    Args:
        stored, now: fingerprint by name of the data set, of the run and of what there is.
        source: checkpoint, for the error.

    Raises:
        InputError: the data has changed; the message names the first difference.
    """
    for name, found in now.items():
        try:
            before = stored.get(name)
            if before is None or before["digest"] == found["digest"]:
                continue
            changed = [
                f"{split} had {_counts(before[split])}, and has {_counts(found[split])}"
                for split in SPLITS
                if list(before[split]) != found[split]
            ]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{source}: its data entry is damaged: {error!r}") from error
        difference = (*changed, "other files, labels or contents under the same counts")[0]
        raise InputError(
            f"{source}: the images of {name} have changed since: {difference}; restore them, or "
            "start over with resume=none"
        )


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any], source: object) -> None:
    """Check that a run of a task with other counts continues with its images.

    Args:
        before, now: ``digest`` and counts by split, of the run and of what there is. A split that
            the run did not use is not compared.
        source: checkpoint, for the error.

    Raises:
        InputError: they have changed.
    """
    for split, found in now.items():
        then = before.get(split, found) if isinstance(before, Mapping) else None
        if then == found:
            continue
        if not isinstance(then, Mapping):
            raise InputError(
                f"{source}: its data entry is damaged or of another version: start over with "
                "resume=none"
            )
        counts = [
            ", ".join(f"{count} {name}" for name, count in each.items() if name != "digest")
            for each in (then, found)
        ]
        difference = f"they were {counts[0]}, and are {counts[1]}"
        if counts[0] == counts[1]:
            difference = "other files, labels or contents under the same counts"
        raise InputError(
            f"{source}: the {split} images have changed since: {difference}; restore them, or "
            "start over with resume=none"
        )


def sample_files(paths: Iterable[str]) -> dict[str, str]:
    """Size and a hash of the first and last 4 KiB of each file, read on all cores."""
    paths = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(_sample, paths), strict=True))


def _sample(path: str) -> str:
    """Size of a file and a hash of its start and end; empty if it cannot be read."""
    try:
        with regular(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(_SAMPLE)
            if size > _SAMPLE:
                file.seek(max(_SAMPLE, size - _SAMPLE))
                content += file.read(_SAMPLE)
    except OSError:  # decoding names it
        return ""
    return f"{size} {hashlib.blake2b(content, digest_size=8).hexdigest()}"


def _counts(counts: Sequence[int]) -> str:
    images, identities, cameras = counts
    return f"{images:,} images of {identities:,} identities and {cameras:,} cameras"
