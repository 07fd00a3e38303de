"""Image classification (Section 3.3, Table 3): ``reid-dcs classify train|eval|search``."""

from reid_dcs.models.classification import build_classifier

__all__ = ["build_classifier"]
