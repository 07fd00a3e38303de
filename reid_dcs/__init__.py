"""Person re-identification with Differentiable Channel Selection, on torchreid.

``import reid_dcs`` registers the models and data sets with torchreid: at once if torchreid has been
imported, otherwise as soon as it is. It imports neither torchreid nor torch itself, so that a
command line answers quickly; the public names and the subpackages are imported at first use.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reid_dcs.errors import InputError
from reid_dcs.runtime.imports import after_import

if TYPE_CHECKING:
    from reid_dcs.inference.extractor import FeatureExtractor
    from reid_dcs.models import build_model, list_models

__version__ = "0.1.0"
__all__ = ["FeatureExtractor", "InputError", "build_model", "list_models"]

_PUBLIC = {
    "FeatureExtractor": "reid_dcs.inference.extractor",
    "build_model": "reid_dcs.models",
    "list_models": "reid_dcs.models",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register() -> None:
    import_module("reid_dcs.models")
    import_module("reid_dcs.data.datasets")


warnings.filterwarnings("ignore", message="Cython evaluation", category=UserWarning)
after_import("torchreid", _register)
