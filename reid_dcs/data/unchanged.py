"""What tells whether the images of a run have changed: samples of files, digests and counts."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reid_dcs.errors import InputError
from reid_dcs.files import regular

_SAMPLE = 4096  # bytes of a file, at its start and at its end


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
                f"{source}: its data entry is damaged or of another version: start over "
                "in another folder with --output-dir"
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
            "start over in another folder with --output-dir"
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
