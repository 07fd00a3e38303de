"""Load a trained detector from its checkpoint."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from reid_dcs.attention.options import options_of_file
from reid_dcs.errors import InputError
from reid_dcs.inference.load import check_task
from reid_dcs.models.architecture import options_of_card
from reid_dcs.tasks.detection.data.annotations import Category
from reid_dcs.tasks.detection.network import CascadeMaskRCNN, build_detector
from reid_dcs.weights import ModelCard, load_exactly
from reid_dcs.zoo import read_weights_and_card


class TrainedDetector(NamedTuple):
    """A detector in evaluation mode, and what its file says of it."""

    detector: CascadeMaskRCNN
    card: ModelCard
    categories: list[Category]
    """Those of the labels 1, 2, ..."""


def load_detector(source: str | Path, device: torch.device) -> TrainedDetector:
    """Build the detector of a checkpoint and load its weights.

    Raises:
        InputError: a missing or damaged file, or weights of another task.
    """
    _, content, card = read_weights_and_card(source)
    if card is None:
        raise InputError(
            f"{source} holds no detector: give a checkpoint of detect train or detect search"
        )
    check_task(card, ("detection",), source)
    categories = _categories(content.get("categories"), source)
    options = options_of_card(options_of_file(card.model, card.options), {}, source)
    detector = build_detector(
        card.model,
        len(categories),
        min_size=card.preprocessing.height,
        max_size=card.preprocessing.width,
        **options,
    )
    load_exactly(detector, content["state_dict"], source)
    return TrainedDetector(detector.to(device).eval(), card, categories)


def _categories(content: Any, source: object) -> list[Category]:
    try:
        categories = [Category(int(each["id"]), str(each["name"])) for each in content]
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{source}: its categories are missing or damaged") from error
    if not categories:
        raise InputError(f"{source}: it has no categories")
    return categories
