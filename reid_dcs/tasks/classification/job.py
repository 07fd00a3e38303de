"""Training and search of image classification as a job."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reid_dcs.config import to_layer
from reid_dcs.data.augment import normalize
from reid_dcs.data.spaced import spaced_batches
from reid_dcs.data.unchanged import check_unchanged
from reid_dcs.engine import Freezing, Trainer
from reid_dcs.inference.load import CLASSIFICATION
from reid_dcs.jobs import Job
from reid_dcs.jobs.networks import (
    build_initialized,
    check_network,
    network_line,
    to_device,
    written_options,
)
from reid_dcs.jobs.trainer import build_optimization, build_policy, trainer_options
from reid_dcs.models.classification import build_classifier
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime import distributed
from reid_dcs.runtime.capture import check_capture, training_network
from reid_dcs.runtime.device import compiled
from reid_dcs.runtime.environment import command_line
from reid_dcs.search.supergraph import build_supergraph
from reid_dcs.tasks.classification.data import (
    as_evaluated,
    check_outside_splits,
    fingerprint,
    list_images,
    stored,
)
from reid_dcs.tasks.classification.loader import TrainLoader, check_readable, evaluation_loader
from reid_dcs.tasks.classification.results import results, table
from reid_dcs.tasks.classification.settings import ClassifyTrainRun, data_name
from reid_dcs.tasks.classification.task import Classification
from reid_dcs.tasks.classification.transforms import training_transform
from reid_dcs.weights import ModelCard, Preprocessing

HEAD = ("classifier",)


class ClassificationJob(Job):
    """A training or a search of image classification; see :class:`Job`."""

    @property
    def data_name(self) -> str:
        """Name of the data set in titles."""
        return data_name(self.config.data)

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the images in an evaluation."""
        data = self.config.data
        return Preprocessing(data.height, data.width, center_crop=data.crop)

    def load_data(self, initial: InitialWeights | None, resumed: Mapping[str, Any] | None) -> None:
        """List the images, and decode them if they are stored."""
        config, data = self.config, self.config.data
        check_network(build_classifier, config, initial, is_resumed=bool(resumed))
        check_capture(config.train, self.device)
        listed = list_images(data, config.seed)
        check_outside_splits(config.output_dir, data)
        self.fingerprints = {
            split: fingerprint(images) for split, images in listed._asdict().items()
        }
        if resumed:
            check_unchanged(resumed.get("data", {}), self.fingerprints, f"resume={config.resume}")
        self.train, self.val = (
            stored(images, data, split, self.preprocessing)
            for split, images in listed._asdict().items()
        )
        self.loader = TrainLoader(
            self.train, training_transform(data), data.batch_size, config.seed, data.workers
        )
        self.test_loader = evaluation_loader(
            self.val,
            as_evaluated(self.val, self.preprocessing),
            config.eval.batch_size,
            data.workers,
        )

    def build_network(
        self, config: ClassifyTrainRun, initial: InitialWeights | None = None
    ) -> nn.Module:
        """Build the network for the classes of the data set."""
        classes = len(self.train.classes)
        return build_initialized(build_classifier, config, classes, self.device, initial)

    def build_supergraph(self) -> nn.Module:
        """Build the supergraph for the classes of the data set."""
        model, classes = self.config.model, len(self.train.classes)
        supergraph = build_supergraph(model.name, classes, task=CLASSIFICATION, **model.options)
        return to_device(supergraph, self.device, self.config.train.sync_bn)

    def build_untrained(self, config: ClassifyTrainRun) -> nn.Module:
        """Build the network, without weights of a file."""
        return build_classifier(config.model.name, 2, **config.model.options)

    def build_search_trainer(self, network: nn.Module) -> Trainer:
        """Build the trainer of the search."""
        size = (3, self.preprocessing.height, self.preprocessing.width)
        policy = build_policy(self.config, network, len(self.loader), size)
        passes = compiled(network, self.config.train.compile)
        return self._trainer(self.config, network, passes, policy.optimizers, policy=policy)

    def calibration_images(self) -> Iterator[Tensor]:
        """Batches of training images, spread evenly over the data set, without augmentation."""
        pixels, transform = self.preprocessing, as_evaluated(self.train, self.preprocessing)
        sizes = self.config.search.calibration, self.config.eval.batch_size
        for batch in spaced_batches(len(self.train.names), *sizes):
            images = torch.stack([transform(self._read(i)) for i in batch.tolist()])
            yield normalize(images.to(self.device), pixels.mean, pixels.std)

    def _read(self, index: int) -> Any:
        try:
            return self.train.read(index)
        except OSError as error:
            check_readable({"errors": [f"{self.train.names[index]} ({error})"]})

    def build_trainer(self, config: ClassifyTrainRun, network: nn.Module) -> Trainer:
        """Build the trainer of the training."""
        recipe = config.train
        weights = build_optimization(network, recipe, [len(self.loader)] * recipe.epochs)
        return self._trainer(
            config,
            network,
            training_network(network, recipe),
            {"weights": weights},
            ema=recipe.ema,
            freezing=Freezing(network, recipe.frozen_epochs, HEAD),
        )

    def _trainer(
        self,
        config: ClassifyTrainRun,
        network: nn.Module,
        passes: Callable[[Tensor], Any],
        optimizers: Any,
        **options: Any,
    ) -> Trainer:
        recipe = config.train
        description = {
            **self._card(config).to_dict(),
            "config": to_layer(config),
            "data": self.fingerprints,
        }
        shared = trainer_options(self.precision, recipe, description)
        task = Classification(
            passes,
            self.precision,
            self.preprocessing,
            self.test_loader,
            recipe.label_smoothing,
        )
        return Trainer(
            task,
            network,
            self.loader,
            optimizers,
            best_metric="top1",
            **shared,
            **options,
        )

    def _card(self, config: ClassifyTrainRun) -> ModelCard:
        return ModelCard(
            model=config.model.name,
            options=written_options(config.model),
            num_classes=len(self.train.classes),
            preprocessing=self.preprocessing,
            task=CLASSIFICATION,
            classes=list(self.train.classes),
            trained_on=self.data_name,
            command=command_line(),
        )

    def announce(self, network: nn.Module) -> None:
        """Print model and data set."""
        if not distributed.is_main():
            return
        data, classes = self.config.data, len(self.train.classes)
        print(
            f"{network_line(self.config.model.name, network, self.precision)}\n"
            f"{self.data_name} at {data.height}x{data.width}: {len(self.train.names):,} training "
            f"images and {len(self.val.names):,} others of {classes} classes",
            flush=True,
        )

    def metrics(self, config: ClassifyTrainRun, trainer: Trainer) -> dict[str, Any]:
        """Content of ``metrics.json``, after the last evaluation."""
        assert isinstance(trainer.task, Classification)
        predictions = trainer.task.predictions
        assert predictions is not None  # a run ends with an evaluation
        network, pixels = trainer.evaluated_model, self.preprocessing
        return results(predictions, self.val.classes, network, pixels) | {
            "dataset": self.data_name,
            "model": config.model.name,
        }

    def table(self, metrics: Mapping[str, Any]) -> str:
        """Top-1 and top-5 in per cent, and the worst classes."""
        return table(metrics)
