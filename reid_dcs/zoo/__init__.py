"""Trained weights by name: what there is, where it comes from, and that it is what it says."""

from reid_dcs.zoo.cache import cache_folder, obtain, verify
from reid_dcs.zoo.lookup import find_entry, read_named, weights_file
from reid_dcs.zoo.manifest import Entry, WeightsFile, read_manifest

__all__ = [
    "Entry",
    "WeightsFile",
    "cache_folder",
    "find_entry",
    "obtain",
    "read_manifest",
    "read_named",
    "verify",
    "weights_file",
]
