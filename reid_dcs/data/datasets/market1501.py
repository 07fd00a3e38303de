"""Market-1501 (Zheng et al., ICCV 2015): 1,501 identities, six cameras, DPM detections."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Counts, Listing
from reid_dcs.data.datasets.market_layout import (
    list_market_layout,
    list_named_images,
    required_folders,
)
from reid_dcs.data.datasets.names import Ignored
from reid_dcs.data.datasets.places import locate

OFFICIAL = {  # without junk; the distractors of the gallery count as one identity
    "train": Counts(12_936, 751, 6),
    "query": Counts(3_368, 750, 6),
    "gallery": Counts(15_913, 751, 6),
}


class Market1501(ListedDataset):
    """Market-1501 in its official split. Never downloaded: see datasets/README.md.

    Args:
        root: ``Market-1501-v15.09.15`` itself, or a folder that contains it (under that name or
            as ``market1501``).
        market1501_500k: add the distractors in ``images/`` to the gallery.
        kwargs: see :class:`ListedDataset`.
    """

    title = "Market-1501"
    terms = "for research only, not to be distributed"
    _junk_pids = [0, -1]

    @classmethod
    def list_files(
        cls, root: Path, required: Collection[str] = SPLITS, *, market1501_500k: bool = False
    ) -> Listing:
        parts = required_folders(required) + ["images/"] * market1501_500k
        name = "Market-1501-v15.09.15"
        places = (name, "market1501", f"market1501/{name}")
        obtain = "obtain it from zheng-lab.cecs.anu.edu.au/Project/project_reid.html"
        folder = locate(cls.title, root, places, parts, obtain)
        official = None if market1501_500k else OFFICIAL
        listing = list_market_layout(folder, required, official)
        if market1501_500k:
            ignored = Ignored(list, listing.ignored)
            more = list_named_images(folder / "images", listing.misnamed, ignored)
            listing = replace(listing, gallery=listing.gallery + more, ignored=ignored)
        return listing
