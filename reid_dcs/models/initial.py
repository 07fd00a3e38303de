"""Initial weights of a new run: from any file of weights of the same architecture."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.attention.block import named_blocks
from reid_dcs.attention.options import options_of_file
from reid_dcs.errors import InputError
from reid_dcs.models.architecture import options_of_card
from reid_dcs.models.heads.classifier import ClassificationNetwork
from reid_dcs.models.registry import build_model
from reid_dcs.weights import ModelCard, count_classes, load_exactly
from reid_dcs.zoo import read_weights_and_card

READINGS = ("mode", "union", "bounds", "min_length", "ratio", "normalization")
"""Options of attention that change what a block computes from the same parameters."""


class InitialWeights(NamedTuple):
    """A file of weights to start from."""

    source: str
    """File or name of the model zoo, as the user gave it."""
    state: dict[str, Tensor]
    """State dict."""
    card: ModelCard | None
    """Description of the network; None for a bare state dict and a file of torchreid."""


def read_initial(source: str) -> InitialWeights:
    """Read a checkpoint, a state dict, safetensors, or weights of the model zoo by name.

    Raises:
        InputError: missing or damaged weights.
    """
    _, content, card = read_weights_and_card(source)
    return InitialWeights(source, content["state_dict"], card)


def load_initial(
    model: nn.Module, weights: InitialWeights, name: str, options: Mapping[str, Any]
) -> str:
    """Load weights into a newly built network.

    A classifier for another number of identities stays as built, as do an attention block and the
    neck if the file has no parameter of them; classification networks have no neck, and take no
    Re-ID weights. Everything else must match.

    Args:
        model: Re-ID or classification network, also on the device ``meta``, where this only
            checks the weights.
        weights: result of :func:`read_initial`.
        name, options: ``model.name`` and ``model.options`` of the network.

    Returns:
        a line that says what was loaded and what stays as built.

    Raises:
        InputError: another architecture, Re-ID weights for a classification network, or windows
            that the network would read in another way.
    """
    if isinstance(model, ClassificationNetwork) and _has(weights.state, "neck"):
        raise InputError(
            f"train.init: {weights.source} holds weights of re-identification, which image "
            "classification does not start from: use weights of reid-dcs classify train, or leave "
            "it out"
        )
    current = model.state_dict()
    new = [block for block in named_blocks(model) if not _has(weights.state, block)]
    new_neck = _has(current, "neck") and not _has(weights.state, "neck")
    parts = tuple(f"{part}." for part in (*new, *["neck"] * new_neck))
    as_built = {
        key: value
        for key, value in current.items()
        # old files lack the batch counters, which training does not use
        if "num_batches_tracked" in key or key.startswith(parts)
    }
    load_exactly(model, as_built | weights.state, weights.source, ignore="classifier")
    if len(new) < len(named_blocks(model)):
        _check_readings(model, weights, name, options)
    return "; ".join(
        [
            _title(weights),
            *["new neck"] * new_neck,
            *_new_classifier(current, weights.state),
            *_new_blocks(new, options),
        ]
    )


def _has(state: Mapping[str, Tensor], module: str) -> bool:
    return any(key.startswith(f"{module}.") for key in state)


def _check_readings(
    model: nn.Module, weights: InitialWeights, name: str, options: Mapping[str, Any]
) -> None:
    """Compare the blocks with those that the file's card describes.

    A file without a card has windows as before there were options for them, unless the user's
    options say otherwise.
    """
    card = weights.card or ModelCard(name, dict(options))
    if card.model != name:
        raise InputError(f"train.init: {weights.source} holds {card.model}, not {name}")
    backbone = {key: value for key, value in options.items() if key == "architecture"}
    with torch.device("meta"):
        described = backbone | options_of_card(card.options, backbone, weights.source)
        trained = build_model(name, 1, **options_of_file(name, described))
    pairs = zip(named_blocks(trained).values(), named_blocks(model).values(), strict=True)
    differing = {
        option: getattr(then, option)
        for then, now in pairs
        for option in READINGS
        if getattr(then, option, None) != getattr(now, option, None)
    }
    if not differing:
        return
    given = " ".join(f"model.options.{option}={value}" for option, value in differing.items())
    if weights.card:
        raise InputError(
            f"train.init: the windows of {weights.source} have other options than this network: "
            f"pass {given}"
        )
    raise InputError(
        f"train.init: {weights.source} has no model card, so its windows are read as those of old "
        f"files: pass {given}, or spell out the options that it was trained with"
    )


def _title(weights: InitialWeights) -> str:
    if weights.card is None:
        return f"initial weights: {weights.source}"
    trained_on = weights.card.trained_on
    return f"initial weights: {weights.source} ({weights.card.model}" + (
        f", trained on {trained_on})" if trained_on else ")"
    )


def _new_classifier(current: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    names = [key for key in current if "classifier" in key]
    if all(key in state and state[key].shape == current[key].shape for key in names):
        return []
    here, there = count_classes(current), count_classes(state)
    return [
        f"new classifier for {here} identities, the file has {there}" if here else "new classifier"
    ]


def _new_blocks(blocks: list[str], options: Mapping[str, Any]) -> list[str]:
    if not blocks:
        return []
    start = "as the identity" if options.get("zero_init", True) else "with random weights"
    return [f"{len(blocks)} attention blocks that the file lacks start {start}"]
