"""Fingerprint of the data of a Re-ID run, which a resumed run must find unchanged."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torchreid import data as torchreid_data

from reid_dcs.data.datasets.listing import SPLITS
from reid_dcs.data.unchanged import sample_files
from reid_dcs.errors import InputError

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
            "start over in another folder with --output-dir"
        )


def _counts(counts: Sequence[int]) -> str:
    images, identities, cameras = counts
    return f"{images:,} images of {identities:,} identities and {cameras:,} cameras"
