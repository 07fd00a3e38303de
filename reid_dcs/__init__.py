"""Person re-identification with Differentiable Channel Selection, on torchreid.

Importing the package registers its models and data sets with torchreid.
"""

import warnings

warnings.filterwarnings("ignore", message="Cython evaluation", category=UserWarning)

from reid_dcs.errors import InputError  # noqa: E402
from reid_dcs.inference.extractor import FeatureExtractor  # noqa: E402
from reid_dcs.models import build_model, list_models  # noqa: E402

__version__ = "0.1.0"
__all__ = ["FeatureExtractor", "InputError", "build_model", "list_models"]
