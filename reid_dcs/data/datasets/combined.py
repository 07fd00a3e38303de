"""Training on all images of a data set, those of its test split included."""

from collections.abc import Collection
from dataclasses import replace

from reid_dcs.data.datasets.listing import Item, Listing


def combine_all(listing: Listing, junk_pids: Collection[int]) -> Listing:
    """Add the query and gallery images to the training split, as torchreid's ``combineall``.

    Query and gallery stay as they are, so an evaluation on them is one on training images.

    Args:
        listing: listing of the data set.
        junk_pids: identities that are no people, which are not trained on.
    """
    known = {path for path, *_ in listing.train}
    added: dict[str, Item] = {}  # by path: an image may be in query and gallery
    for path, pid, camera in listing.query + listing.gallery:
        if path not in known and pid not in junk_pids:
            # where cameras are unknown, those of query and gallery differ only for the ranking
            added.setdefault(path, (path, pid, camera if listing.cameras_known else 0))
    return replace(
        listing,
        train=[*listing.train, *added.values()],
        difference=f"{len(added):,} test images are trained on, too",
        trained_on_test=True,
    )
