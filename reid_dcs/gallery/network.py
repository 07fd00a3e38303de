"""The network of a gallery, by which all its pictures are compared."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_dcs.errors import InputError, OtherArchitecture
from reid_dcs.evaluation.feature_cache import features_fingerprint
from reid_dcs.inference.extractor import FeatureExtractor

FORMAT = 1

About = Mapping[str, Any]
"""Description of a gallery: format, weights, their fingerprint and card, length of a feature;
and, once they are known, its threshold and how its people were found."""


class GalleryNetwork:
    """Opens the weights of a gallery, keeps them open, and refuses others.

    Args:
        address: of the gallery, for messages.
        device: where the network runs, read when it is opened.
    """

    def __init__(self, address: str, device: str) -> None:
        self.address, self.device = address, device
        self._extractor: FeatureExtractor | None = None
        self._source: str | Path = ""  # of its weights
        self._fingerprint = ""

    def open(
        self, about: About | None, weights: str | Path | None, model: str | None
    ) -> FeatureExtractor:
        """The network that is open; from its file if none is, or if weights are given.

        Args:
            about: of the gallery; None if it is new.
            weights, model: as of :meth:`reid_dcs.gallery.Gallery.extractor`.

        Raises:
            InputError: other weights than the gallery's, weights that cannot be read, or a new
                gallery and no weights.
        """
        if self._extractor is not None and weights is None:
            self._check(about, self._fingerprint, self._source)
            return self._extractor
        source = weights or (about or {}).get("weights")
        if not source:
            raise InputError(f"{self.address} is new: pass --weights FILE, or a name of the zoo")
        named = model
        if about and Path(source).suffix != ".onnx":
            named = model or about["card"]["model"]["name"]
        try:
            extractor = FeatureExtractor(source, named, device=self.device)
        except OtherArchitecture as error:
            if about and not model:
                raise self._other(about, source) from error
            raise
        found = _fingerprint(extractor)
        self._check(about, found, source)
        self._extractor, self._source, self._fingerprint = extractor, source, found
        return extractor

    def describe(self, extractor: FeatureExtractor) -> dict[str, Any]:
        """The description of a new gallery that is made with the network that :meth:`open` gave."""
        path = Path(os.path.expanduser(self._source))
        return {
            "format": FORMAT,
            "weights": str(path.resolve()) if path.is_file() else str(self._source),
            "fingerprint": self._fingerprint,
            "card": extractor.card.to_dict(),
            "dimension": extractor([]).shape[1],
        }

    def _check(self, about: About | None, found: str, source: str | Path) -> None:
        if about and about["fingerprint"] != found:
            raise self._other(about, source)

    def _other(self, about: About, source: str | Path) -> InputError:
        return InputError(
            f"{self.address} was made with {about['card']['model']['name']} of {about['weights']} "
            f"(sha256 {about['fingerprint'][:12]}), and {source} is another network: pass those "
            "weights, or index into another gallery"
        )


def _fingerprint(extractor: FeatureExtractor) -> str:
    """SHA-256 of everything that determines the features of a picture."""
    card = extractor.card.to_dict()
    return features_fingerprint(
        extractor.path, model=card["model"], preprocessing=card["preprocessing"]
    )
