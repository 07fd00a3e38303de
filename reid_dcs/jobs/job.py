"""A job: the parts of a run that depend on its task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.engine import Trainer
from reid_dcs.errors import InputError
from reid_dcs.jobs.networks import initial_weights
from reid_dcs.jobs.windows import write_windows
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime.precision import Precision
from reid_dcs.runtime.randomness import seeded
from reid_dcs.search.supergraph import build_supergraph, is_space
from reid_dcs.weights import Preprocessing


class Job(ABC):
    """Builds data, networks and trainers of a run; a subclass for each task.

    :func:`reid_dcs.jobs.train.train` and :func:`reid_dcs.jobs.search.search` call its methods, in
    the order in which they stand here. ``config`` arguments are the job's settings, except in the
    training after a search, where ``model.options`` may hold the architecture that was found.

    Args:
        config: settings of the run, an object of a settings class with the groups ``model``,
            ``train`` and ``eval``, and ``search`` for a search.
        device: of the run.
    """

    def __init__(self, config: Any, device: torch.device) -> None:
        self.config, self.device = config, device

    @property
    def precision(self) -> Precision:
        """Number type of the training's forward passes.

        Raises:
            InputError: the device has no arithmetic of this type.
        """
        return Precision(self.config.train.precision, self.device)

    def check_searchable(self) -> None:
        """Check that a search can follow the settings of the training.

        Raises:
            InputError: it cannot.
        """
        model = self.config.model
        if not is_space(model.name):
            return
        if "architecture" in model.options:
            raise InputError(
                "model.options.architecture: a backbone search finds the architecture itself: "
                "leave it out; reid-dcs train trains one that was found, and the channels of one "
                "of the package's are searched under its name, such as fbnetv2_synthetic_23m_dcs"
            )
        if self.config.train.init:
            raise InputError("train.init: a backbone search starts from scratch: leave it out")
        if model.pretrained:
            raise InputError(
                "model.pretrained: a backbone search starts from scratch; set "
                "model.pretrained=false"
            )
        if not self.config.search.epochs:
            raise InputError("search.epochs=0: a backbone cannot be trained before it is found")
        with seeded(self.config.seed):
            build_supergraph(model.name, 2, **model.options)  # checks the options

    def read_initial(self) -> InitialWeights | None:
        """Read the weights of ``train.init``; None if it is empty."""
        return initial_weights(self.config.train.init, self.preprocessing)

    @property
    @abstractmethod
    def data_name(self) -> str:
        """Name of the data set in titles."""

    @property
    @abstractmethod
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the images."""

    @abstractmethod
    def load_data(self, initial: InitialWeights | None, resumed: Mapping[str, Any] | None) -> None:
        """Load the data, once for all phases of the run, after a check of the network's settings.

        Args:
            initial: weights that the run starts from, to be checked before any image is read.
            resumed: checkpoint that the run continues from; its data must be the same.

        Raises:
            InputError: invalid data, images or model, or other data than the checkpoint's.
        """

    @abstractmethod
    def build_network(self, config: Any, initial: InitialWeights | None = None) -> nn.Module:
        """Build the network of ``config.model`` on the device.

        Args:
            initial: weights to load. With ``train.init`` ImageNet weights are not loaded, whether
                ``initial`` is given or the run is resumed.
        """

    def build_supergraph(self) -> nn.Module:
        """Build the supergraph of ``config.model`` on the device.

        Raises:
            InputError: the task has no search of backbones.
        """
        raise InputError(
            f"model.name: the backbone {self.config.model.name} is searched by reid-dcs search or "
            "reid-dcs classify search; choose another model here"
        )

    @abstractmethod
    def build_untrained(self, config: Any) -> nn.Module:
        """Build the network of ``config.model`` without weights of a file, to count its cost."""

    @abstractmethod
    def build_search_trainer(self, network: nn.Module) -> Trainer:
        """Build the trainer of the search; its policy is an :class:`Alternation`."""

    def searching(self) -> AbstractContextManager:
        """Context of the search's epochs; by default none."""
        return nullcontext()

    @abstractmethod
    def calibration_images(self) -> Iterator[Tensor]:
        """Batches of ``search.calibration`` training images (B, 3, H, W), without augmentation."""

    def write_windows(self, network: nn.Module, output: Path) -> None:
        """Measure the windows of the trained network, and write ``windows.json``."""
        write_windows(network, self.calibration_images, output)

    @abstractmethod
    def build_trainer(self, config: Any, network: nn.Module) -> Trainer:
        """Build the trainer of the training."""

    @abstractmethod
    def announce(self, network: nn.Module) -> None:
        """Print model and data of the run."""

    @abstractmethod
    def metrics(self, config: Any, trainer: Trainer) -> dict[str, Any]:
        """Content of ``metrics.json``, after the last evaluation."""

    @abstractmethod
    def table(self, metrics: Mapping[str, Any]) -> str:
        """The metrics as text, printed at the end."""
