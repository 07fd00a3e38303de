"""The network of a run: checked, built and initialized; its options in files of weights."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from reid_dcs.attention.options import options_to_write
from reid_dcs.config.settings import ModelConfig
from reid_dcs.models.architecture import read_architecture
from reid_dcs.models.initial import InitialWeights, load_initial, read_initial
from reid_dcs.runtime.device import synchronized
from reid_dcs.runtime.precision import Precision
from reid_dcs.weights import Preprocessing
from reid_dcs.zoo import find_weights


def initial_weights(source: str, pixels: Preprocessing) -> InitialWeights | None:
    """Read the weights of ``train.init``; None if it is empty.

    Args:
        source: file, or name of the model zoo.
        pixels: preprocessing of the run; another one of the weights is a warning.

    Raises:
        InputError: missing or damaged weights.
    """
    if not source:
        return None
    weights = read_initial(source)
    trained = weights.card.preprocessing if weights.card else pixels
    if (trained.mean, trained.std) != (pixels.mean, pixels.std):
        print(
            f"warning: {weights.source} was trained with mean {trained.mean} and std "
            f"{trained.std}; this run normalizes by {pixels.mean} and {pixels.std}",
            file=sys.stderr,
        )
    return weights


def network_line(name: str, network: nn.Module, precision: Precision) -> str:
    """What a run prints of its network: name, parameters, device and number type."""
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return f"{name}, {parameters:.2f} M parameters, on {precision.device} in {precision.name}"


Build = Callable[..., nn.Module]
"""Builds a network from name, number of classes, ``pretrained`` and options."""


def check_network(
    build: Build, config: Any, initial: InitialWeights | None, is_resumed: bool = False
) -> None:
    """Check name, options and weights of a network, before any image is read.

    Args:
        build: :func:`~reid_dcs.models.build_model` or :func:`~reid_dcs.models.build_classifier`.
        config: settings with the groups ``model`` and ``train``.
        initial: weights of ``train.init``.
        is_resumed: a checkpoint has the weights.

    Raises:
        InputError: an unknown name or option, or weights that are missing or do not fit.
    """
    name, options = config.model.name, config.model.options
    with torch.device("meta"):
        network = build(name, 2, **options)
    if initial:
        load_initial(network, initial, name, options)
    if isinstance(config.model.pretrained, str) and not config.train.init and not is_resumed:
        find_weights(config.model.pretrained)


def build_initialized(
    build: Build,
    config: Any,
    num_classes: int,
    device: torch.device,
    initial: InitialWeights | None = None,
) -> nn.Module:
    """Build the network of ``config.model`` on a device, ``channels_last``.

    Args:
        build, config: see :func:`check_network`.
        initial: weights to load and to print a line about. With ``train.init``, ImageNet weights
            are not loaded, whether ``initial`` is given or the run is resumed.
    """
    name, options = config.model.name, config.model.options
    pretrained = False if config.train.init else config.model.pretrained
    network = build(name, num_classes, pretrained=pretrained, **options)
    if initial:
        print(load_initial(network, initial, name, options), flush=True)
    return to_device(network, device, config.train.sync_bn)


def without_pretrained(config: Any) -> Any:
    """The settings of a network whose weights a checkpoint has, so that no other file is needed."""
    return replace(config, model=replace(config.model, pretrained=False))


def written_options(model: ModelConfig) -> dict[str, Any]:
    """The model's options, with the content of an architecture's file: weights name no files."""
    options = options_to_write(model.name, model.options)
    if isinstance(options.get("architecture"), str):
        options["architecture"] = read_architecture(options["architecture"])
    return options


def to_device(model: nn.Module, device: torch.device, sync_bn: bool = False) -> nn.Module:
    """Move a model to a device, ``channels_last``; synchronize its batch norms if asked to."""
    model = synchronized(model, device) if sync_bn else model
    return model.to(device).to(memory_format=torch.channels_last)
