"""DukeMTMC-reID (Ristani et al., ECCVW 2016; Zheng et al., ICCV 2017). Withdrawn by its authors."""

from collections.abc import Collection
from pathlib import Path

from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.datasets.listing import SPLITS, Counts, Listing
from reid_dcs.data.datasets.market_layout import list_market_layout, required_folders
from reid_dcs.data.datasets.places import locate

OFFICIAL = {  # 408 gallery identities are distractors, seen by one camera only
    "train": Counts(16_522, 702, 8),
    "query": Counts(2_228, 702, 8),
    "gallery": Counts(17_661, 1_110, 8),
}


class DukeMTMCreID(ListedDataset):
    """DukeMTMC-reID in its official split, for users who have a copy. Never downloaded.

    Args:
        root: ``DukeMTMC-reID`` itself, or a folder that contains it (under that name or, as
            in torchreid, ``dukemtmc-reid/DukeMTMC-reID``).
        kwargs: see :class:`ListedDataset`.
    """

    title = "DukeMTMC-reID"
    terms = "withdrawn in 2019, not to be distributed"
    example = "0005_c2_f0046985.jpg"

    @classmethod
    def list_files(cls, root: Path, required: Collection[str] = SPLITS) -> Listing:
        places = ("DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid")
        obtain = (
            "it was withdrawn in 2019 and is not downloaded or linked here (datasets/README.md)"
        )
        folder = locate(cls.title, root, places, required_folders(required), obtain)
        return list_market_layout(folder, required, OFFICIAL)
