"""An evaluation that is done, as the sections of a report look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dcs.config import EvaluateRun
from reid_dcs.data.augment import normalise
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.data.decode import read_images
from reid_dcs.evaluation import Labels, Ranking
from reid_dcs.evaluation.distances import Rows
from reid_dcs.visual.curves import History


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is done.

    Attributes:
        metrics: as in ``metrics.json``.
        history: of the training, an entry an epoch; empty where the weights do not tell.
        ranking, distances, labels: of all queries.
    """

    config: EvaluateRun
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
        return 3, self.config.data.height, self.config.data.width

    def inputs(self, files: Sequence[str]) -> torch.Tensor:
        """What the network takes of images, (B, 3, H, W)."""
        pixels = np.stack([*read_images(files, *self.input_size[1:], "images")])
        return normalise(torch.from_numpy(pixels).to(self.device))

    def photograph(self, split: str, image: int) -> str:
        """The file of a query or a gallery image."""
        return getattr(self.dataset, split)[image][0]
