"""Settings of ``reid-dcs classify train|search|eval``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reid_dcs.config import SETTINGS, RecipeConfig, SearchConfig, TaskRun
from reid_dcs.config.settings import (
    Precision,
    TrainModelConfig,
    number,
    path,
    probability,
)
from reid_dcs.errors import InputError


@dataclass
class ImageFolderConfig:
    """Images in folders by class, and how they are read."""

    root: str = path("datasets")  # train/CLASS/*.jpg and val/CLASS/*.jpg
    # globs of webdataset's tar files, instead of folders
    val_shards: str = path("")
    # file with the names of the classes, one a line, in the order of the outputs; empty: sorted
    label_map: str = path("")
    height: int = number(224, at_least=16, at_most=10_000)  # pixels
    width: int = number(224, at_least=16, at_most=10_000)
    # the fraction of a resized image that the center crop of an evaluation keeps, 0.1 or more; 0:
    # the whole image is resized to height x width, whatever its aspect ratio
    crop: float = probability(0.875)
    # files: decoded for each epoch by the workers. memory, mapped: decoded once, as in an
    # evaluation, into memory or into <root>/stores
    storage: Literal["files", "memory", "mapped"] = "files"
    workers: int | None = number(None, at_least=0, at_most=1024)  # null: one a core, 8 at most

    def __post_init__(self) -> None:
        if 0 < self.crop < 0.1:  # would enlarge an image to over 100 times the pixels
            raise InputError(f"data.crop={self.crop}: give 0.1 to 1, or 0 for the whole image")


@dataclass
class TrainDataConfig(ImageFolderConfig):
    """Images of a training, and their augmentation."""

    shards: str = path("")
    classes: int = number(0, at_least=0)  # a subset of this many classes, by seed; 0: all
    batch_size: int = number(128, at_least=2)  # of each process
    # smallest area of a random crop, as a fraction of the image; 1: no crop, only a resize
    crop_scale: float = number(0.08, above=0, at_most=1)
    padding: int = number(0, at_least=0, at_most=1024)  # pixels added before a random crop
    flip: float = probability(0.5)  # probability of a horizontal flip
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"


@dataclass
class RecipeOfClassification(RecipeConfig):
    """The training recipe of image classification."""

    label_smoothing: float = number(0.0, at_least=0, below=1)


@dataclass
class EvalConfig:
    """The evaluations of a training run."""

    every: int = number(0, at_least=0)  # epochs between evaluations; 0: only after the last
    batch_size: int = number(128, at_least=1)


@dataclass
class FullEvalConfig:
    """The evaluation of trained weights."""

    weights: str = path("")  # checkpoint, or a name of the model zoo
    batch_size: int = number(128, at_least=1)
    precision: Precision = "float32"
    report: bool = False  # write report.html


@dataclass
class ClassifyTrainRun(TaskRun):
    """Settings of ``classify train``."""

    model: TrainModelConfig = field(default_factory=TrainModelConfig)
    data: TrainDataConfig = field(default_factory=TrainDataConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    resume: str = path("none")  # none, auto (output_dir's last checkpoint, if any) or a file
    train: RecipeOfClassification = field(default_factory=RecipeOfClassification)

    def default_output_dir(self) -> Path:
        """Folder for the results, if the user names none."""
        return Path("outputs", data_name(self.data), self.model.name)


@dataclass
class ClassifySearchRun(ClassifyTrainRun):
    """Settings of ``classify search``: the search, and the training that follows it."""

    search: SearchConfig = field(default_factory=SearchConfig)


@dataclass
class ClassifyEvaluateRun(TaskRun):
    """Settings of ``classify eval``; model and input size default to those of the weights."""

    data: ImageFolderConfig = field(default_factory=ImageFolderConfig)
    eval: FullEvalConfig = field(default_factory=FullEvalConfig)

    def default_output_dir(self) -> Path:
        """Folder for the results, if the user names none."""
        return Path("outputs", data_name(self.data), self.model.name)


def data_name(data: ImageFolderConfig) -> str:
    """Name of a data set: that of its folder."""
    shards = getattr(data, "shards", "") or data.val_shards
    folder = Path(shards).parent if shards else Path(data.root)
    return folder.resolve().name or "images"


COMMANDS = {
    "classify train": ClassifyTrainRun,
    "classify search": ClassifySearchRun,
    "classify eval": ClassifyEvaluateRun,
}
SETTINGS.update(COMMANDS)
