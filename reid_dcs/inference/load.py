"""Load a trained network from its file of weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from reid_dcs.config import EvaluateRun, Layer, as_layer, compose
from reid_dcs.errors import InputError
from reid_dcs.models import build_model
from reid_dcs.weights import ModelCard, count_classes, load_exactly
from reid_dcs.zoo import read_weights_and_card

TASK = "reid"


class TrainedWeights(NamedTuple):
    """A file of weights that was read, and how to run its network."""

    source: str
    """As the user named it: a file, or a name of the model zoo."""
    path: Path
    """The file."""
    content: dict[str, Any]
    """Of the file; see :func:`reid_dcs.weights.read_weights`."""
    card: ModelCard
    """The file's card, with the options and the input size of ``config``."""
    config: EvaluateRun
    """The settings of the file, and the user's over them."""


def read_trained(source: str | Path, given: Layer) -> TrainedWeights:
    """Read weights and their card, and compose the settings to run the network with.

    Args:
        source: a file, or a name of the model zoo.
        given: the user's settings, which override the file's.

    Raises:
        InputError: there are no such weights, their architecture is unknown or another than
            ``model.name`` in ``given``, or they were trained for another task.
    """
    layer = as_layer(EvaluateRun, given)
    path, content, card = read_weights_and_card(source)
    named = layer.get("model", {}).get("name")
    if card is None:
        if not named:
            raise InputError(f"{source} does not say which model it is: pass --model NAME")
        card = ModelCard(named, num_classes=count_classes(content["state_dict"]))
    if card.task != TASK:
        raise InputError(
            f"{source} is trained for the task {card.task!r}, not {TASK!r}: choose other weights, "
            "or the command of that task"
        )
    if named and named != card.model:
        raise InputError(f"{source} holds {card.model}, not {named}: leave --model out")
    config = compose(EvaluateRun, settings_of_card(card, layer), layer)
    pixels = replace(card.preprocessing, height=config.data.height, width=config.data.width)
    card = replace(card, options=dict(config.model.options), preprocessing=pixels)
    return TrainedWeights(str(source), path, content, card, config)


def settings_of_card(card: ModelCard, given: Mapping[str, Any]) -> Layer:
    """The settings that a card implies: model, input size, and data set if it is the user's.

    Args:
        given: the user's settings; options of the data set apply to the same data set alone.
    """
    data: dict[str, Any] = {
        "height": card.preprocessing.height,
        "width": card.preprocessing.width,
    }
    dataset = card.trained_on
    if dataset and given.get("data", {}).get("name", dataset) == dataset:
        data |= {"name": dataset, "options": card.trained_on_options}
    return {"model": {"name": card.model, "options": card.options}, "data": data}


def load_trained(weights: TrainedWeights, device: torch.device) -> nn.Module:
    """The network with the weights of its file, in evaluation mode, ``channels_last``.

    Raises:
        InputError: the weights belong to another architecture.
    """
    card = weights.card
    model = build_model(card.model, card.num_classes or 1, **card.options)
    # evaluation does not run the classifier
    load_exactly(model, weights.content["state_dict"], weights.source, but="classifier")
    return model.to(device).to(memory_format=torch.channels_last).eval()
