"""Weight files: safe reading, exact matching to a network, safetensors, model cards.

The names below are imported at first use: the card needs no torch, which takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "ModelCard": "card",
    "Preprocessing": "card",
    "count_classes": "card",
    "check_fits": "files",
    "load_exactly": "files",
    "read_card": "card",
    "read_weights": "files",
    "save_safetensors": "safetensors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
