"""Market-1501 (Zheng et al., ICCV 2015): 1,501 identities, six cameras, boxes by DPM."""

from pathlib import Path

from reid_dcs.data.datasets.market_layout import SPLITS, MarketLayout
from reid_dcs.errors import InputError


class Market1501(MarketLayout):
    """Market-1501 in its official split. Never downloaded: see datasets/README.md.

    Args:
        root: ``Market-1501-v15.09.15`` itself, or a folder that holds it (under that name or
            as ``market1501``).
        kwargs: torchreid's (``transform``, ``mode``, ``combineall``, ...).

    Attributes:
        unofficial: how the counts differ from the official ones, or None.

    Raises:
        InputError: the set is not there, or a split is empty or has misnamed files.
    """

    OFFICIAL = {"train": 12_936, "query": 3_368, "gallery": 15_913}  # junk dropped

    def __init__(self, root: str = "", **kwargs) -> None:
        super().__init__(_find(Path(root)), **kwargs)
        found = {"train": self.train, "query": self.query, "gallery": self.gallery}
        wrong = [
            f"{split} has {len(found[split]):,} images instead of {count:,}"
            for split, count in self.OFFICIAL.items()
            if len(found[split]) != count and not self.combineall
        ]
        self.unofficial = "; ".join(wrong) or None


def _find(root: Path) -> Path:
    places = [root]
    for name in ("Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15"):
        places.append(root / name)
    # A root that holds the set under a known name and one that is the set look the same here:
    # the place with the most of the split folders is meant.
    found = max(places, key=lambda place: sum((place / name).is_dir() for name in SPLITS.values()))
    missing = [name for name in SPLITS.values() if not (found / name).is_dir()]
    if len(missing) == len(SPLITS):
        looked = ", ".join(str(place.resolve()) for place in places)
        raise InputError(
            f"Market-1501 is not under {root.resolve()}: looked for {'/, '.join(missing)}/ in "
            f"{looked}; pass the folder that holds Market-1501-v15.09.15 as --root"
        )
    if missing:
        raise InputError(f"Market-1501 in {found.resolve()} lacks {'/, '.join(missing)}/")
    return found
