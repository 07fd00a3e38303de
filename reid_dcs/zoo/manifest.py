"""The manifest of the model zoo: one typed and validated entry for each file of weights."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reid_dcs.config import read_config
from reid_dcs.errors import InputError
from reid_dcs.weights import ModelCard, Preprocessing

MANIFEST = Path(__file__).with_name("manifest.yaml")
SCHEMES = ("package:", "https:", "drive:")


@dataclass
class WeightsFile:
    """A file of weights: where to download it from, and how to verify it.

    Attributes:
        file: its name in the cache.
        sources: tried in order: ``package:FILE`` (in this folder), ``https://...``, ``drive:ID``.
        size: in bytes; None if the authors do not publish it.
        sha256: whole or its first digits; None if the authors do not publish it: it is recorded
            at the first download.
    """

    file: str = MISSING
    sources: list[str] = MISSING
    size: int | None = None
    sha256: str | None = None


@dataclass
class ZooEntry(WeightsFile):
    """A file of weights with the facts about it; its sha256 is given whole.

    Attributes:
        model, options, num_classes: arguments of ``build_model``.
        trained_on: data set.
        preprocessing: of the network's input.
        task: ``reid`` or ``classification``.
        evaluated_on: data set of the metrics; empty: the one trained on.
        metrics: ``mAP``, ``rank1`` and so on, as fractions.
        measured_by: the command that measured the metrics; or empty.
        stated_by: where the authors of the weights publish the metrics, if we did not measure
            them; or empty.
        licence: license of the weights.
    """

    model: str = MISSING
    trained_on: str = MISSING
    num_classes: int = MISSING
    licence: str = MISSING
    metrics: dict[str, float] = MISSING
    options: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    task: str = "reid"
    evaluated_on: str = ""
    measured_by: str = ""
    stated_by: str = ""

    def card(self) -> ModelCard:
        """The card of a file that has none itself."""
        return ModelCard(
            model=self.model,
            options=dict(self.options),
            num_classes=self.num_classes,
            preprocessing=self.preprocessing,
            task=self.task,
            trained_on=self.trained_on,
            metrics=dict(self.metrics),
            command=self.measured_by,
        )


@dataclass
class DetectorEntry(WeightsFile):
    """A detector of people, for ``gallery index --detect``.

    Attributes:
        licence: license of the file.
        input: what the network takes.
    """

    licence: str = MISSING
    input: str = ""


@dataclass
class _Manifest:
    weights: dict[str, ZooEntry] = field(default_factory=dict)
    detectors: dict[str, DetectorEntry] = field(default_factory=dict)


def read_manifest(path: Path | None = None) -> dict[str, ZooEntry]:
    """The entries by name, of this package's manifest by default.

    Raises:
        InputError: an unknown or missing key, a wrong type, or an inconsistent entry.
    """
    path = path or MANIFEST
    entries = _read(path).weights
    for name, entry in entries.items():
        ModelCard.from_dict(entry.card().to_dict(), f"{path}: {name}")
        for wrong in _inconsistencies(entry):
            raise InputError(f"{path}: {name}: {wrong}")
    return entries


def read_detectors(path: Path | None = None) -> dict[str, DetectorEntry]:
    """The detectors by name.

    Raises:
        InputError: an unknown or missing key, or a wrong type.
    """
    return _read(path or MANIFEST).detectors


def _read(path: Path) -> _Manifest:
    content = read_config(path)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(_Manifest), content)
        manifest: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{path}: {error.full_key or 'weights'}: {what}") from error
    return manifest


def _inconsistencies(entry: ZooEntry) -> list[str]:
    wrong = []
    if bool(entry.measured_by) == bool(entry.stated_by):
        wrong.append("name the origin of the metrics: either measured_by or stated_by")
    if any(not 0 <= value <= 1 for value in entry.metrics.values()):
        wrong.append("metrics must be fractions, from 0 to 1")
    if Path(entry.file).name != entry.file or entry.file.startswith("."):
        wrong.append(f"file must be a name without folders, not {entry.file!r}")
    if entry.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", entry.sha256):
        wrong.append("sha256 must be 64 digits of 0-9a-f")
    if not entry.sources:
        wrong.append("no sources")
    for source in entry.sources:
        if not source.startswith(SCHEMES):
            wrong.append(f"a source must start with {' or '.join(SCHEMES)}, not {source!r}")
    if entry.sha256 is None and any(s.startswith("package:") for s in entry.sources):
        wrong.append("a file of the package needs its sha256")
    return wrong
