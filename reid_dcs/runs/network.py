"""The network of a Re-ID run: built, initialized and described."""

import torch
from torch import nn

from reid_dcs.config import TrainRun
from reid_dcs.errors import InputError
from reid_dcs.jobs.networks import build_initialized, written_options
from reid_dcs.models import build_model, list_models
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime.environment import command_line
from reid_dcs.weights import ModelCard, Preprocessing


def build_network(
    config: TrainRun,
    num_classes: int,
    device: torch.device,
    initial: InitialWeights | None = None,
) -> nn.Module:
    """Build the network; see :func:`reid_dcs.jobs.networks.build_initialized`."""
    return build_initialized(build_model, config, num_classes, device, initial)


def build_card(config: TrainRun, num_classes: int) -> ModelCard:
    """Describe the network that ``config`` trains."""
    return ModelCard(
        model=config.model.name,
        options=written_options(config.model),
        num_classes=num_classes,
        preprocessing=training_preprocessing(config),
        trained_on=config.data.name,
        trained_on_options=config.data.options,
        command=command_line(),
    )


def training_preprocessing(config: TrainRun) -> Preprocessing:
    """Preprocessing in training: ImageNet's mean and std, bilinear interpolation."""
    return Preprocessing(config.data.height, config.data.width)


def check_triplet_feature(config: TrainRun) -> None:
    """Check that the network has the feature that ``train.triplet_feature`` names.

    Raises:
        InputError: networks of torchreid's zoo have no BN neck.
    """
    name, feature = config.model.name, config.train.triplet_feature
    if feature == "after_neck" and name not in list_models():
        raise InputError(
            f"train.triplet_feature=after_neck: {name} is not a network of this package and has no "
            "BN neck; use auto"
        )
