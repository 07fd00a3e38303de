"""Held-out identities: evaluate on part of the training split, to tune without the test split."""

from collections import defaultdict
from dataclasses import replace

from reid_dcs.data.datasets.listing import Item, Listing
from reid_dcs.errors import InputError


def hold_out(listing: Listing, fraction: float) -> Listing:
    """Split the training identities in two: one part for training, the other for evaluation.

    The held-out identities are evenly spaced in ascending order: every tenth for a fraction of
    0.1. As in the official splits, each of them has one query per camera: the middle image by
    path. An image without a match under another camera joins the gallery instead. All other
    images of these identities are the gallery. The test split is dropped.

    Args:
        listing: listing of the data set.
        fraction: fraction of the training identities to hold out, above 0 and below 1.

    Raises:
        InputError: invalid fraction, or one that leaves no query or no training identity.
    """
    pids = sorted({pid for _, pid, _ in listing.train})
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise InputError(
            f"data.options.held_out must be a fraction between 0 and 1, not {fraction!r}"
        )
    held_out = {pid for i, pid in enumerate(pids) if int((i + 1) * fraction) > int(i * fraction)}
    by_pid_and_camera: dict[tuple[int, int], list[Item]] = defaultdict(list)
    for item in sorted(listing.train):
        if item[1] in held_out:
            by_pid_and_camera[item[1:]].append(item)
    candidates = [items.pop(len(items) // 2) for items in by_pid_and_camera.values()]
    rest = [item for items in by_pid_and_camera.values() for item in items]
    if not listing.cameras_known:  # query and gallery must differ in camera
        rest = [(path, pid, 1) for path, pid, _ in rest]
    cameras = defaultdict(set)
    for _, pid, camera in rest:
        cameras[pid].add(camera)
    query = [item for item in candidates if cameras[item[1]] - {item[2]}]
    gallery = sorted({*rest, *candidates} - {*query})
    if not query or len(held_out) == len(pids):
        raise InputError(
            f"data.options.held_out={fraction} of {len(pids):,} training identities leaves no "
            "query with a match or no training identity: choose another fraction"
        )
    difference = f"{len(held_out):,} of {len(pids):,} training identities are held out to evaluate"
    return replace(
        listing,
        train=[item for item in listing.train if item[1] not in held_out],
        query=query,
        gallery=gallery,
        difference=difference,
    )
