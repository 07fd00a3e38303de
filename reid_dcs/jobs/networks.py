"""The network of a run: its initial weights, its options in files of weights, its device."""

import sys
from typing import Any

import torch
from torch import nn

from reid_dcs.attention.options import options_to_write
from reid_dcs.config.settings import ModelConfig
from reid_dcs.models.architecture import read_architecture
from reid_dcs.models.initial import InitialWeights, read_initial
from reid_dcs.runtime.device import synchronized
from reid_dcs.weights import Preprocessing


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
