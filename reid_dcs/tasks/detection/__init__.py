"""Object detection (Section 3.2, Table 2): Cascade Mask R-CNN with attention in its trunk.

The networks need torch and torchvision alone; data, evaluation and commands need
``pip install 'reid_dcs[detection]'``. The names below are imported at first use: the settings of
the commands need no torch, which takes seconds to import.
"""

from typing import TYPE_CHECKING

from reid_dcs.runtime.imports import at_first_use

if TYPE_CHECKING:
    from reid_dcs.tasks.detection.network import CascadeMaskRCNN, build_detector
    from reid_dcs.tasks.detection.predict import predict
    from reid_dcs.tasks.detection.runs import evaluate, search, train

__all__ = ["CascadeMaskRCNN", "build_detector", "evaluate", "predict", "search", "train"]

__getattr__ = at_first_use(
    __name__,
    {
        "CascadeMaskRCNN": "network",
        "build_detector": "network",
        "evaluate": "runs",
        "predict": "predict",
        "search": "runs",
        "train": "runs",
    },
)
