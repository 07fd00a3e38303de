"""Training and search of detectors as a job: data, networks, trainers, results."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.config import to_layer
from reid_dcs.data.spaced import evenly_spaced
from reid_dcs.data.unchanged import check_unchanged
from reid_dcs.engine import Freezing, Trainer
from reid_dcs.errors import InputError
from reid_dcs.jobs.job import Job
from reid_dcs.jobs.networks import network_line, to_device, written_options
from reid_dcs.jobs.trainer import build_optimization, build_policy, trainer_options
from reid_dcs.jobs.windows import write_windows
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime import distributed
from reid_dcs.runtime.environment import command_line
from reid_dcs.search.supergraph import is_space
from reid_dcs.tasks.detection.data.annotations import check_trainable
from reid_dcs.tasks.detection.data.batches import DetectionLoader, load_image
from reid_dcs.tasks.detection.data.find import check_outside_split, load_split
from reid_dcs.tasks.detection.initial import load_initial_detector
from reid_dcs.tasks.detection.network import CascadeMaskRCNN, build_detector
from reid_dcs.tasks.detection.network.counting import detector_complexity
from reid_dcs.tasks.detection.results import fingerprint, table
from reid_dcs.tasks.detection.settings import DetectSearchRun, DetectTrainRun, data_name
from reid_dcs.tasks.detection.task import DetectionTask, parameter_groups
from reid_dcs.weights import ModelCard, Preprocessing

KEPT_TRAINING = ("norms", "fpn")
"""Parts beside the trunk, which train while ``train.frozen_epochs`` freezes it."""


class DetectionJob(Job):
    """A training or a search of a detector; see :class:`Job`."""

    config: DetectTrainRun

    @property
    def data_name(self) -> str:
        """Name of the data set in titles."""
        return data_name(self.config.data)

    @property
    def preprocessing(self) -> Preprocessing:
        """ImageNet's mean and std; the height is that of the shorter side, the width the limit."""
        return Preprocessing(self.config.data.sizes[-1], self.config.data.max_size)

    def check_searchable(self) -> None:
        """Check that the search is not one of a backbone, which detection does not have.

        Raises:
            InputError: it is.
        """
        if is_space(self.config.model.name):
            self.build_supergraph()

    def load_data(self, initial: InitialWeights | None, resumed: Mapping[str, Any] | None) -> None:
        """Read the annotations, after a check of the network and of the initial weights.

        Raises:
            InputError: invalid data or model, other data than the checkpoint's, or an output folder
                inside the data set.
        """
        config = self.config
        for name in ("compile", "capture"):
            if getattr(config.train, name):
                raise InputError(f"train.{name}: images of detection differ in size; leave it out")
        with torch.device("meta"):
            network = self._build(config, 1)
        if initial:
            load_initial_detector(network, initial)
        root = Path(config.data.root)
        with distributed.main_first():
            self.train, self.val = (
                load_split(config.data.name, root, split).require_valid()
                for split in ("train", config.eval.split)
            )
        for annotations in (self.train, self.val):
            check_outside_split(config.output_dir, config.data.name, annotations)
        check_trainable(self.train, self.val)
        self.fingerprints = {
            split: fingerprint(annotations)
            for split, annotations in (("train", self.train), (config.eval.split, self.val))
        }
        if resumed:
            check_unchanged(resumed.get("data", {}), self.fingerprints, f"resume={config.resume}")

    def build_network(
        self, config: DetectTrainRun, initial: InitialWeights | None = None
    ) -> nn.Module:
        """Build the detector for the categories of the data set, on the device."""
        pretrained = False if config.train.init else config.model.pretrained
        network = self._build(config, len(self.train.categories), pretrained)
        if initial:
            print(load_initial_detector(network, initial), flush=True)
        network.backbone.freeze(config.train.frozen_stages)
        return to_device(network, self.device, config.train.sync_bn)

    def build_untrained(self, config: DetectTrainRun) -> nn.Module:
        """Build the detector, without weights of a file."""
        return self._build(config, len(self.train.categories))

    def build_search_trainer(self, network: nn.Module) -> Trainer:
        """Build the trainer of the search."""
        assert isinstance(self.config, DetectSearchRun)
        loader = self._loader()
        size = (3, self.preprocessing.height, self.preprocessing.width)
        policy = build_policy(self.config, network, len(loader), size)
        return self._trainer(self.config, network, loader, policy.optimizers, policy=policy)

    def build_trainer(self, config: DetectTrainRun, network: nn.Module) -> Trainer:
        """Build the trainer of the training."""
        recipe, loader = config.train, self._loader()
        assert isinstance(network, CascadeMaskRCNN)
        groups = parameter_groups(
            network, recipe.learning_rate, recipe.weight_decay, recipe.layer_decay
        )
        batches = [len(loader)] * recipe.epochs
        return self._trainer(
            config,
            network,
            loader,
            {"weights": build_optimization(network, recipe, batches, groups)},
            ema=recipe.ema,
            freezing=Freezing(network.backbone, recipe.frozen_epochs, KEPT_TRAINING),
        )

    def calibration_images(self) -> Iterator[Tensor]:
        """Training images, spread evenly over the set, each resized to 4:3 and normalized."""
        assert isinstance(self.config, DetectSearchRun)
        images, height = self.train.images, self.config.data.sizes[-1]
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        for index in evenly_spaced(len(images), self.config.search.calibration).tolist():
            image = (load_image(images[index]).float() / 255 - mean) / std
            size = (height, round(height * 4 / 3))
            yield F.interpolate(image[None], size, mode="bilinear").to(self.device)

    def write_windows(self, network: nn.Module, output: Path) -> None:
        """Measure the windows of the trunk, and write ``windows.json``."""
        assert isinstance(network, CascadeMaskRCNN)
        write_windows(network.backbone.trunk, self.calibration_images, output)

    def announce(self, network: nn.Module) -> None:
        """Print model and data of the run."""
        if not distributed.is_main():
            return
        things = sum(len(image.things) for image in self.train.images)
        print(
            f"{network_line(self.config.model.name, network, self.precision)}\n"
            f"{self.data_name}: {len(self.train.images):,} training images with {things:,} objects "
            f"of {len(self.train.categories)} categories; {len(self.val.images):,} images of "
            f"{self.val.file.stem} to evaluate on",
            flush=True,
        )

    def metrics(self, config: DetectTrainRun, trainer: Trainer) -> dict[str, Any]:
        """AP of all classes, sizes and each class; data, model and its cost."""
        assert isinstance(trainer.task, DetectionTask)
        height = config.data.sizes[-1]
        with torch.device("meta"):
            cost = detector_complexity(
                self._build(config, len(self.train.categories)), height, height * 8 // 5
            )
        return {
            **trainer.task.result,
            "dataset": self.data_name,
            "split": config.eval.split,
            "num_images": len(self.val.images),
            "num_objects": sum(len(image.things) for image in self.val.images),
            "model": config.model.name,
            "params": cost.params,
            "flops": cost.mmdet_flops,
            "affinity_macs": cost.affinity_macs,
            "size": height,
            "max_size": config.data.max_size,
        }

    def table(self, metrics: Mapping[str, Any]) -> str:
        """The metrics in per cent."""
        return table(metrics)

    def _build(
        self, config: DetectTrainRun, num_classes: int, pretrained: bool | str = False
    ) -> CascadeMaskRCNN:
        return build_detector(
            config.model.name,
            num_classes,
            pretrained,
            min_size=config.data.sizes,
            max_size=config.data.max_size,
            **config.model.options,
        )

    def _loader(self) -> DetectionLoader:
        data = self.config.data
        return DetectionLoader(
            self.train,
            data.batch_size,
            flip=data.flip,
            crop=data.crop,
            seed=self.config.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            workers=data.workers,
        )

    def _trainer(
        self,
        config: DetectTrainRun,
        network: nn.Module,
        loader: DetectionLoader,
        optimizers: Any,
        **options: Any,
    ) -> Trainer:
        assert isinstance(network, CascadeMaskRCNN)
        task = DetectionTask(network, self.val, self.precision, config.eval.batch_size)
        common = trainer_options(self.precision, config.train, self._description(config))
        return Trainer(
            task, network, loader, optimizers, best_metric="box_AP", **(common | options)
        )

    def _description(self, config: DetectTrainRun) -> dict[str, Any]:
        card = ModelCard(
            model=config.model.name,
            options=written_options(config.model),
            num_classes=len(self.train.categories),
            preprocessing=self.preprocessing,
            task="detection",
            trained_on=self.data_name,
            command=command_line(),
        )
        return {
            **card.to_dict(),
            "categories": [category._asdict() for category in self.train.categories],
            "config": to_layer(config),
            "data": self.fingerprints,
        }
