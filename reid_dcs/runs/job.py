"""Training and search of re-identification as a job: data, networks, engines, results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from reid_dcs.config import SearchRun, TrainRun
from reid_dcs.data.augment import normalize
from reid_dcs.data.datasets.joint import JointDataset
from reid_dcs.data.manager import TrainLoader
from reid_dcs.data.spaced import spaced_batches
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.errors import InputError
from reid_dcs.jobs.job import Job
from reid_dcs.jobs.networks import to_device
from reid_dcs.models import ReIDNetwork, build_model
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runs.announce import announce, announce_phases
from reid_dcs.runs.data import load_data
from reid_dcs.runs.engine import build_engine, build_search_engine
from reid_dcs.runs.network import build_network, training_preprocessing
from reid_dcs.runs.results import metrics_of, metrics_of_parts, table
from reid_dcs.search import build_supergraph
from reid_dcs.search.engine import SearchEngine
from reid_dcs.weights import Preprocessing


class ReIDJob(Job):
    """A training or a search of re-identification; see :class:`Job`."""

    def check_searchable(self) -> None:
        """Check that a search can follow the settings of the training.

        Raises:
            InputError: initial weights for a supergraph, or several input sizes.
        """
        super().check_searchable()
        if self.config.data.phases:
            raise InputError(
                "data.phases: a search has one input size: leave it out, or train the result of "
                "the search with train.init=OUTPUT_DIR/checkpoint.pt"
            )

    @property
    def data_name(self) -> str:
        """Name of the data set in titles."""
        return self.config.data.name

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the images."""
        return training_preprocessing(self.config)

    def load_data(self, initial: InitialWeights | None, resumed: Mapping[str, Any] | None) -> None:
        """Load and decode the data set; see :func:`reid_dcs.runs.data.load_data`."""
        self.dataset, self.manager = load_data(self.config, self.device, initial, resumed)

    def build_network(self, config: TrainRun, initial: InitialWeights | None = None) -> nn.Module:
        """Build the network for the identities of the data set."""
        network = build_network(config, self.manager.num_train_pids, self.device, initial)
        return self._with_triplet_feature(network)

    def build_supergraph(self) -> nn.Module:
        """Build the supergraph for the identities of the data set."""
        name, options = self.config.model.name, self.config.model.options
        model: nn.Module = build_supergraph(name, self.manager.num_train_pids, **options)
        model = to_device(model, self.device, self.config.train.sync_bn)
        return self._with_triplet_feature(model)

    def build_untrained(self, config: TrainRun) -> nn.Module:
        """Build the network, without weights of a file."""
        return build_model(config.model.name, 1, **config.model.options)

    def build_search_trainer(self, network: nn.Module) -> SearchEngine:
        """Build the engine of the search."""
        config: SearchRun = self.config
        return build_search_engine(config, network, self.manager)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Context without mixup, which Section 3.1.1 has in the fine-tuning alone."""
        loader = self._train_loader
        loader.mixup, alpha = 0.0, loader.mixup
        try:
            yield
        finally:
            loader.mixup = alpha

    def calibration_images(self) -> Iterator[Tensor]:
        """Batches of training images, spread evenly over the data set, without augmentation."""
        store = self._train_loader.store
        sizes = self.config.search.calibration, self.config.eval.batch_size
        for batch in spaced_batches(len(store), *sizes):
            yield normalize(store.images[batch].to(self.device))

    def build_trainer(self, config: TrainRun, network: nn.Module) -> ReIDEngine:
        """Build the engine of the training."""
        return build_engine(config, network, self.manager)

    def announce(self, network: nn.Module) -> None:
        """Print model, data set and input sizes."""
        announce(self.config, self.dataset, network, self.precision)
        announce_phases(self.config)

    def metrics(self, config: TrainRun, trainer: Any) -> dict[str, Any]:
        """Content of ``metrics.json``, after the last evaluation."""
        metrics = metrics_of(config, self.dataset, trainer.evaluated_model, trainer.result)
        if isinstance(self.dataset, JointDataset):
            metrics |= metrics_of_parts(self.dataset, trainer.results)
        return metrics

    def table(self, metrics: Mapping[str, Any]) -> str:
        """The metrics in per cent."""
        return table(dict(metrics))

    def _with_triplet_feature(self, network: nn.Module) -> nn.Module:
        feature = self.config.train.triplet_feature
        if isinstance(network, ReIDNetwork) and feature != "auto":
            network.triplet_feature = feature
        return network

    @property
    def _train_loader(self) -> TrainLoader:
        loader = self.manager.train_loader
        assert isinstance(loader, TrainLoader)  # check_searchable refuses phases
        return loader
