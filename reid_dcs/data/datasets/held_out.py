"""Choosing settings without looking at the test split: some training identities evaluate."""

from collections import defaultdict
from dataclasses import replace

from reid_dcs.data.datasets.listing import Item, Listing
from reid_dcs.errors import InputError


def hold_out(listing: Listing, share: float) -> Listing:
    """The training split cut in two by identity; the test split is not used.

    Of the identities in order, evenly spread ones are held out: with a share of 0.1 every tenth.
    As in the official splits, the queries are one image of each of them under each camera, the
    middle one by path, where it then has a match under another; the rest are the gallery.

    Args:
        share: of the training identities, between 0 and 1.

    Raises:
        InputError: a share that leaves no identity on either side, or no query a match.
    """
    pids = sorted({pid for _, pid, _ in listing.train})
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        raise InputError(f"held_out must be a share between 0 and 1, not {share!r}")
    apart = {pid for i, pid in enumerate(pids) if int((i + 1) * share) > int(i * share)}
    seen: dict[tuple[int, int], list[Item]] = defaultdict(list)
    for item in sorted(listing.train):
        if item[1] in apart:
            seen[item[1:]].append(item)
    candidates = [items.pop(len(items) // 2) for items in seen.values()]
    rest = [item for items in seen.values() for item in items]
    if not listing.cameras_known:  # then a query has another camera than the gallery
        rest = [(path, pid, 1) for path, pid, _ in rest]
    cameras = defaultdict(set)
    for _, pid, camera in rest:
        cameras[pid].add(camera)
    query = [item for item in candidates if cameras[item[1]] - {item[2]}]
    gallery = sorted({*rest, *candidates} - {*query})
    if not query or len(apart) == len(pids):
        raise InputError(
            f"held_out={share} of {len(pids):,} training identities leaves nothing to evaluate"
        )
    return replace(
        listing,
        train=[item for item in listing.train if item[1] not in apart],
        query=query,
        gallery=gallery,
        departure=f"{len(apart):,} of {len(pids):,} training identities are held out to evaluate",
    )
