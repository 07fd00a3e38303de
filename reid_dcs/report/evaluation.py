"""Inputs of the report: a finished evaluation with its model, data set and distances."""

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
    """A finished evaluation.

    Attributes:
        config: configuration of the evaluation.
        preprocessing: preprocessing of the network's input.
        dataset: data set with its query and gallery images.
        model: evaluated network.
        metrics: contents of ``metrics.json``.
        history: training history, one entry per epoch; empty where the weights have none.
        ranking, distances, labels: results for all queries.
        worth: metrics with other windows, by name (runs/worth.py); None if not measured.
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
    worth: Mapping[str, Mapping[str, float]] | None = None

    def camera_name(self, camera: int) -> str:
        """What a camera is called in the data set."""
        if not self.dataset.cameras_known:
            return "unknown"
        names = self.dataset.camera_names
        return names[camera] if names else str(camera + 1)

    def identity_name(self, pid: int) -> str | int:
        """What a person of query or gallery is called in the data set."""
        return self.dataset.identity_names.get(pid, pid)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of an input image."""
        return 3, self.preprocessing.height, self.preprocessing.width

    def inputs(self, files: Sequence[str]) -> torch.Tensor:
        """Read image files as network inputs, (B, 3, H, W)."""
        how = self.preprocessing
        decoded = read_images(
            files, how.height, how.width, "images", how.interpolation, how.center_crop
        )
        pixels = torch.from_numpy(np.stack([*decoded])).to(self.device)
        return normalize(pixels, how.mean, how.std)

    def image_path(self, split: str, index: int) -> str:
        """Path of an image of the ``query`` or ``gallery`` split."""
        return getattr(self.dataset, split)[index][0]
