"""A trained network out of its file: what is evaluated, and what extracts features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_dcs.attention.options import options_of_file
from reid_dcs.config import Config, Layer, compose
from reid_dcs.errors import InputError
from reid_dcs.models import build_model
from reid_dcs.weights import load_exactly
from reid_dcs.zoo import read_named


def read_trained(source: str | Path, given: Layer) -> tuple[Config, dict[str, Any]]:
    """The settings to run a trained network with, and the content of its file.

    Args:
        source: a file, or a name of the model zoo; ``eval.weights`` becomes the file.
        given: settings of the user's, which win over the file's.

    Raises:
        InputError: no such weights, nobody says which model they are of, or the two disagree.
    """
    path, content = read_named(source)
    own = said_by(content, given, str(source))
    return compose(own, given, {"eval": {"weights": str(path)}}), content


def said_by(content: Mapping[str, Any], given: Layer, source: str) -> Layer:
    """The settings that a checkpoint brings along.

    Args:
        content: of the file, as :func:`reid_dcs.zoo.read_named` gives it.
        given: settings of the user's, which win; but naming another architecture is an error.
        source: the file, for the error.

    Raises:
        InputError: nobody says which model it is, or the two disagree.
    """
    named = given.get("model", {}).get("name")
    if "model" not in content:
        if not named:
            raise InputError(f"{source} does not say which model it is: pass --model NAME")
        return {"data": {"height": 256, "width": 128}}  # torchreid's default
    own = content["model"]
    if named and named != own["name"]:
        raise InputError(f"{source} holds {own['name']}, not {named}: leave --model out")
    trained = content["config"]["data"]
    data = {key: content["preprocessing"][key] for key in ("height", "width")}
    if given.get("data", {}).get("name", trained["name"]) == trained["name"]:
        data |= {"name": trained["name"], "options": trained.get("options", {})}
    options = options_of_file(own["name"], own["options"])
    return {"model": {"name": own["name"], "options": options}, "data": data}


def identities_of(content: Mapping[str, Any]) -> int:
    """How many identities the classifier of a file tells apart; 0 without a classifier."""
    weight = content["state_dict"].get("classifier.weight")
    return 0 if weight is None else len(weight)


def title_of(config: Config, content: Mapping[str, Any]) -> str:
    """Which network it is, over what it was trained on: two lines, for a picture."""
    trained = content.get("config", {}).get("data", {}).get("name")
    epoch = f"epoch {content['epoch']}" if "epoch" in content else None
    return f"{config.model.name}\n{', '.join(filter(None, (trained, epoch)))}".strip()


def load_trained(
    config: Config, content: Mapping[str, Any], source: str, device: torch.device
) -> nn.Module:
    """The network with the weights of its file, in evaluation mode.

    Raises:
        InputError: the weights are of another architecture.
    """
    model = build_model(config.model.name, identities_of(content) or 1, **config.model.options)
    # evaluation does not run the classifier
    load_exactly(model, content["state_dict"], source, but="classifier")
    return model.to(device, memory_format=torch.channels_last).eval()
