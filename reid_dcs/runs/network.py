"""The network of a Re-ID run: checked, built, initialized and described."""

import torch
from torch import nn

from reid_dcs.config import TrainRun
from reid_dcs.jobs.networks import to_device, written_options
from reid_dcs.models import build_model
from reid_dcs.models.initial import InitialWeights, load_initial
from reid_dcs.runtime.environment import command_line
from reid_dcs.weights import ModelCard, Preprocessing
from reid_dcs.zoo import find_weights


def check_model(config: TrainRun, initial: InitialWeights | None) -> None:
    """Check name, options and weights of a network, before any image is read.

    Raises:
        InputError: an unknown name or option, or weights that are missing or do not fit.
    """
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    if initial:
        load_initial(model, initial, config.model.name, config.model.options)
    if isinstance(config.model.pretrained, str) and not config.train.init:
        find_weights(config.model.pretrained)


def build_network(
    config: TrainRun,
    num_classes: int,
    device: torch.device,
    initial: InitialWeights | None = None,
) -> nn.Module:
    """Build the network of ``config.model`` on a device, ``channels_last``.

    Args:
        initial: weights to load and to print a line about. With ``train.init``, ImageNet weights
            are not loaded, whether ``initial`` is given or the run is resumed.
    """
    name, options = config.model.name, config.model.options
    pretrained = False if config.train.init else config.model.pretrained
    model = build_model(name, num_classes, pretrained=pretrained, **options)
    if initial:
        print(load_initial(model, initial, name, options), flush=True)
    return to_device(model, device, config.train.sync_bn)


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
