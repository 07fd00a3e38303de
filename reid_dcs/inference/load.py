"""Load a trained network from its file of weights."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.attention.options import options_of_file
from reid_dcs.config import EvaluateRun, Layer, as_layer, compose
from reid_dcs.errors import InputError, OtherArchitecture
from reid_dcs.models import build_classifier, build_model
from reid_dcs.models.architecture import options_of_card
from reid_dcs.weights import ModelCard, check_fits, count_classes, load_exactly
from reid_dcs.zoo import read_weights_and_card

REID, CLASSIFICATION = "reid", "classification"
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    REID: build_model,
    CLASSIFICATION: build_classifier,
}
"""Functions that build the networks of the tasks whose weights can be loaded here."""
COMMANDS = {REID: "eval", CLASSIFICATION: "classify eval", "detection": "detect eval"}
"""The evaluation commands of the tasks, for errors."""


class TrainedWeights(NamedTuple):
    """A file of weights, and the settings to run its network with."""

    source: str
    """File or name of the model zoo, as the user gave it."""
    path: Path
    """Path of the file."""
    content: dict[str, Any]
    """Content of the file: the result of :func:`reid_dcs.weights.read_weights`."""
    card: ModelCard
    """The file's card, with the options and the input size of ``config``."""
    config: EvaluateRun
    """The user's settings; the others are those that the card implies."""


def read_trained(
    source: str | Path, given: Layer, tasks: Collection[str] = (REID,)
) -> TrainedWeights:
    """Read weights and their card, and compose the settings of the network.

    Args:
        source: a file, or a name of the model zoo.
        given: the user's settings, which override those of the card.
        tasks: keys of :data:`BUILDERS` that the caller can use.

    Raises:
        InputError: missing weights, an unknown architecture or another than ``model.name`` in
            ``given``, or weights of another task.
    """
    layer = as_layer(EvaluateRun, given)
    path, content, card = read_described(source, layer, tasks)
    config = compose(EvaluateRun, settings_of_card(card, layer), layer)
    pixels = replace(card.preprocessing, height=config.data.height, width=config.data.width)
    card = replace(card, options=dict(config.model.options), preprocessing=pixels)
    return TrainedWeights(str(source), path, content, card, config)


def read_described(
    source: str | Path, given: Mapping[str, Any], tasks: Collection[str]
) -> tuple[Path, dict[str, Any], ModelCard]:
    """Read weights and the card that describes their network.

    Args:
        source: a file, or a name of the model zoo.
        given: the user's settings; ``model.name`` describes a file without a card.
        tasks: keys of :data:`BUILDERS` that are accepted; the first is that of a file without a
            card.

    Returns:
        path and content of the file, and its card with the user's ``model.options``.

    Raises:
        InputError: missing weights, an unknown architecture or another than ``model.name``, or
            weights of another task.
    """
    path, content, card = read_weights_and_card(source)
    model, has_card = given.get("model", {}), card is not None
    if card is None:
        if not model.get("name"):
            raise InputError(f"{source} does not name its model: pass --model NAME")
        outputs = count_classes(content["state_dict"])
        card = ModelCard(model["name"], num_classes=outputs, task=next(iter(tasks)))
    check_task(card, tasks, source)
    check_model(card, given, source)
    given_options = model.get("options", {})
    if has_card:
        _warn_of_other_options(card, given_options, source)
    options = options_of_card(card.options, given_options, source)
    return path, content, replace(card, options=options)


def _warn_of_other_options(card: ModelCard, given: Mapping[str, Any], source: object) -> None:
    """Warn of the user's options that are not those of the file: it is another network then."""
    trained = options_of_file(card.model, card.options)
    for key, value in given.items():
        if key == "architecture" or trained.get(key) == value:
            continue
        there = f"{key}={trained[key]}" if key in trained else f"the default of {key}"
        print(
            f"warning: {source} was trained with {there}, and is read with {key}={value} here",
            file=sys.stderr,
        )


def check_model(card: ModelCard, given: Mapping[str, Any], source: object) -> None:
    """Check that ``model.name`` of the user's settings, if any, is the weights' architecture.

    Raises:
        OtherArchitecture: it is another.
    """
    named = given.get("model", {}).get("name")
    if named and named != card.model:
        raise OtherArchitecture(f"{source} holds {card.model}, not {named}: leave --model out")


def check_task(card: ModelCard, tasks: Collection[str], source: object) -> None:
    """Check that weights are of one of some tasks.

    Raises:
        InputError: they are of another.
    """
    if card.task not in tasks:
        command, wanted = COMMANDS.get(card.task), " or ".join(map(repr, tasks))
        raise InputError(
            f"{source} was trained for the task {card.task!r}, not {wanted}: use other weights"
            + (f", or reid-dcs {command}" if command else "")
        )


def settings_of_card(card: ModelCard, given: Mapping[str, Any]) -> Layer:
    """Settings that a card implies: model, input size and data set.

    Args:
        given: the user's settings; if they name another data set, the card's is left out.
    """
    data: dict[str, Any] = {
        "height": card.preprocessing.height,
        "width": card.preprocessing.width,
    }
    dataset = card.trained_on
    if dataset and given.get("data", {}).get("name", dataset) == dataset:
        data |= {"name": dataset, "options": card.trained_on_options}
    options = options_of_file(card.model, card.options)
    return {"model": {"name": card.model, "options": options}, "data": data}


def load_trained(weights: TrainedWeights, device: torch.device) -> nn.Module:
    """Build the network and load its weights: in evaluation mode, ``channels_last``.

    Raises:
        InputError: the weights belong to another architecture.
    """
    state = weights.content["state_dict"]
    card = replace(weights.card, num_classes=count_classes(state) or weights.card.num_classes)
    # the features of Re-ID come before its classifier; the logits of a classification are it
    ignore = "classifier" if card.task == REID else None
    return build_described(card, state, weights.source, device, ignore)


def build_described(
    card: ModelCard,
    state: Mapping[str, Tensor],
    source: object,
    device: torch.device,
    ignore: str | None = None,
) -> nn.Module:
    """Build the network of a card and load its weights: in evaluation mode, ``channels_last``.

    Args:
        card: result of :func:`read_described`.
        state, source, ignore: see :func:`reid_dcs.weights.load_exactly`.

    Raises:
        InputError: the weights belong to another architecture.
    """
    build = partial(BUILDERS[card.task], card.model, card.num_classes or 1, **card.options)
    with torch.device("meta"):  # options of a stranger's card may ask for any amount of memory
        check_fits(build(), state, source, ignore)
    model = build()
    load_exactly(model, state, source, ignore)
    return model.to(device).to(memory_format=torch.channels_last).eval()
