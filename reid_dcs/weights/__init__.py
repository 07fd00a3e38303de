"""Weight files: safe reading, exact matching to a network, safetensors, model cards.

The names below are imported at first use: the card needs no torch, which takes seconds to import.
"""

from typing import TYPE_CHECKING

from reid_dcs.runtime.imports import at_first_use

if TYPE_CHECKING:
    from reid_dcs.weights.card import ModelCard, Preprocessing, count_classes, read_card
    from reid_dcs.weights.files import check_fits, load_exactly, read_weights
    from reid_dcs.weights.safetensors import save_safetensors

__all__ = [
    "ModelCard",
    "Preprocessing",
    "count_classes",
    "check_fits",
    "load_exactly",
    "read_card",
    "read_weights",
    "save_safetensors",
]

__getattr__ = at_first_use(
    __name__,
    {
        "ModelCard": "card",
        "Preprocessing": "card",
        "count_classes": "card",
        "check_fits": "files",
        "load_exactly": "files",
        "read_card": "card",
        "read_weights": "files",
        "save_safetensors": "safetensors",
    },
)
