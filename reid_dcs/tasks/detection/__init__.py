"""Object detection (Section 3.2, Table 2): Cascade Mask R-CNN with attention in its trunk.

The networks need torch and torchvision alone; data, evaluation and commands need
``pip install reid_dcs[detection]``.
"""

from reid_dcs.tasks.detection.network import CascadeMaskRCNN, build_detector

__all__ = ["CascadeMaskRCNN", "build_detector"]
