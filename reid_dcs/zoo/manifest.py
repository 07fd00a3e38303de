"""What the zoo has: one entry a file of weights, in ``manifest.yaml``, typed and checked."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reid_dcs.config import read_config
from reid_dcs.errors import InputError

MANIFEST = Path(__file__).with_name("manifest.yaml")
SCHEMES = ("package:", "https:", "drive:")


@dataclass
class Preprocessing:
    """What an image goes through: bilinear resizing, then (x / 255 - mean) / std, RGB."""

    height: int = 256
    width: int = 128
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])


@dataclass
class WeightsFile:
    """How a file of weights is had, and known again.

    Attributes:
        file: its name in the cache.
        sources: tried in order: ``package:FILE`` (in this folder), ``https://...``, ``drive:ID``.
        size: bytes; None where the authors do not say.
        sha256: or its beginning; None where the authors do not say: it is learnt at first use.
    """

    file: str = MISSING
    sources: list[str] = MISSING
    size: int | None = None
    sha256: str | None = None


@dataclass
class Entry(WeightsFile):
    """A file of weights, and what is known of it; its sha256 is given whole.

    Attributes:
        model, options, num_classes: what ``build_model`` is given.
        trained_on: data set.
        preprocessing: of its input.
        evaluated_on: data set of the metrics; empty: the one trained on.
        metrics: ``mAP``, ``rank1`` and so on, as fractions.
        measured_by: the command that measured the metrics; or empty.
        stated_by: where the authors of the weights state them, not measured by us; or empty.
        licence: of the weights.
    """

    model: str = MISSING
    trained_on: str = MISSING
    num_classes: int = MISSING
    licence: str = MISSING
    metrics: dict[str, float] = MISSING
    options: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    evaluated_on: str = ""
    measured_by: str = ""
    stated_by: str = ""

    def description(self) -> dict[str, Any]:
        """What a checkpoint of ours says of itself, for a file that does not."""
        seen = self.preprocessing
        return {
            "model": {
                "name": self.model,
                "options": dict(self.options),
                "num_classes": self.num_classes,
            },
            "preprocessing": {
                "height": seen.height,
                "width": seen.width,
                "mean": list(seen.mean),
                "std": list(seen.std),
            },
            "config": {"data": {"name": self.trained_on, "options": {}}},
        }


@dataclass
class _Manifest:
    weights: dict[str, Entry] = field(default_factory=dict)


def read_manifest(path: Path | None = None) -> dict[str, Entry]:
    """The entries by name; by default the zoo's own.

    Raises:
        InputError: an unknown key, a wrong type, something left out or at odds with the rest.
    """
    path = path or MANIFEST
    content = read_config(path)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(_Manifest), content)
        entries = OmegaConf.to_object(merged).weights
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{path}: {error.full_key or 'weights'}: {what}") from error
    for name, entry in entries.items():
        for wrong in _at_odds(entry):
            raise InputError(f"{path}: {name}: {wrong}")
    return entries


def _at_odds(entry: Entry) -> list[str]:
    wrong = []
    if bool(entry.measured_by) == bool(entry.stated_by):
        wrong.append("say who measured the metrics: measured_by or stated_by")
    if any(not 0 <= value <= 1 for value in entry.metrics.values()):
        wrong.append("metrics are fractions, from 0 to 1")
    if Path(entry.file).name != entry.file or entry.file.startswith("."):
        wrong.append(f"file is a plain name, not {entry.file!r}")
    if entry.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", entry.sha256):
        wrong.append("sha256 is 64 digits of 0-9a-f")
    if not entry.sources:
        wrong.append("no sources")
    for source in entry.sources:
        if not source.startswith(SCHEMES):
            wrong.append(f"a source begins with {' or '.join(SCHEMES)}, not as {source!r}")
    if entry.sha256 is None and any(s.startswith("package:") for s in entry.sources):
        wrong.append("what the package brings along has its sha256")
    return wrong
