"""An evaluation that is done, as the sections of a report look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dcs.config import EvaluateRun
from reid_dcs.data.augment import normalize
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.decode import read_images
from reid_dcs.evaluation import Labels, Ranking
from reid_dcs.evaluation.distances import Rows
from reid_dcs.visual.curves import History
from reid_dcs.weights import Preprocessing


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is done.

    Attributes:
        preprocessing: of the network's input.
        metrics: as in ``metrics.json``.
        history: of the training, an entry an epoch; empty where the weights do not tell.
        ranking, distances, labels: of all queries.
    """

    config: EvaluateRun
    preprocessing: Preprocessing
    dataset: ListedDataset
    model: nn.Module
    metrics: Mapping[str, Any]
    history: History
    ranking: Ranking
    distances: Rows
    labels: Labels

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def input_size(self) -> tuple[int, int, int]:
        return 3, self.preprocessing.height, self.preprocessing.width

    def inputs(self, files: Sequence[str]) -> torch.Tensor:
        """What the network takes of images, (B, 3, H, W)."""
        how = self.preprocessing
        decoded = read_images(files, how.height, how.width, "images", how.interpolation)
        pixels = torch.from_numpy(np.stack([*decoded])).to(self.device)
        return normalize(pixels, how.mean, how.std)

    def photograph(self, split: str, image: int) -> str:
        """The file of a query or a gallery image."""
        return getattr(self.dataset, split)[image][0]
