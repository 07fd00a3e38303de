"""The model zoo: trained weights by name, downloaded, verified and cached."""

from reid_dcs.zoo.cache import cache_folder, download, verify
from reid_dcs.zoo.lookup import find_entry, find_weights, read_weights_and_card
from reid_dcs.zoo.manifest import WeightsFile, ZooEntry, read_detectors, read_manifest
from reid_dcs.zoo.sources import PACKAGE

__all__ = [
    "PACKAGE",
    "WeightsFile",
    "ZooEntry",
    "cache_folder",
    "download",
    "find_entry",
    "find_weights",
    "read_detectors",
    "read_manifest",
    "read_weights_and_card",
    "verify",
]
