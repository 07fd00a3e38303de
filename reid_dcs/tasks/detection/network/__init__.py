"""Cascade Mask R-CNN (Cai and Vasconcelos, 2018) from torchvision's parts.

``pyramid`` is the trunk with its feature pyramid, ``stage`` one stage of the cascade, ``cascade``
all three, ``detector`` the whole network, ``counting`` its cost as Table 2 counts it.
"""

from reid_dcs.tasks.detection.network.detector import CascadeMaskRCNN, build_detector

__all__ = ["CascadeMaskRCNN", "build_detector"]
