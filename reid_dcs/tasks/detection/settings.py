"""Settings of ``reid-dcs detect train|search|eval``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reid_dcs.config import SETTINGS, ChannelSearchConfig, RecipeConfig, TaskRun
from reid_dcs.config.settings import Precision, TrainModelConfig, number, path, probability
from reid_dcs.errors import InputError

Split = Literal["train", "val"]


@dataclass
class DetectionDataConfig:
    """The data set."""

    # coco: any data set in COCO's layout; scenes: the generated one in <root>/scenes
    name: Literal["coco", "scenes"] = "scenes"
    root: str = path("datasets")  # annotations/instances_{train,val}*.json and a folder images


@dataclass
class DetectionTrainDataConfig(DetectionDataConfig):
    """The data set, and the resizing and augmentation of training images."""

    # shorter sides of resized images in pixels: one of these at random in training; evaluation
    # takes the last
    sizes: list[int] = field(
        default_factory=lambda: [800], metadata={"bounds": {"at_least": 32, "at_most": 8192}}
    )
    max_size: int = number(1333, at_least=32, at_most=10_000)  # longest side of a resized image
    batch_size: int = number(4, at_least=1)  # of each process
    flip: float = probability(0.5)  # probability of a horizontal flip
    crop: float = probability(0.0)  # probability of a random crop, as in ConvNeXt's recipe
    workers: int = number(2, at_least=1, at_most=256)  # threads that decode images

    def __post_init__(self) -> None:
        if not self.sizes:
            raise InputError("data.sizes: give one size or more")


@dataclass
class DetectionRecipe(RecipeConfig):
    """The training recipe of object detection."""

    frozen_stages: int = number(0, at_least=0, at_most=4)  # first stages of the trunk
    # factor of the learning rate from each stage of the trunk to the one before it
    layer_decay: float = number(1.0, above=0, at_most=1)


@dataclass
class DetectionEvalConfig:
    """The evaluations of a training run."""

    every: int = number(0, at_least=0)  # epochs between evaluations; 0: only after the last
    batch_size: int = number(1, at_least=1)
    split: Split = "val"


@dataclass
class DetectionFullEvalConfig:
    """The evaluation of trained weights."""

    weights: str = path("")  # checkpoint
    batch_size: int = number(1, at_least=1)
    split: Split = "val"
    precision: Precision = "float32"
    report: bool = False  # write report.html


@dataclass
class DetectTrainRun(TaskRun):
    """Settings of ``detect train``."""

    model: TrainModelConfig = field(default_factory=TrainModelConfig)
    data: DetectionTrainDataConfig = field(default_factory=DetectionTrainDataConfig)
    eval: DetectionEvalConfig = field(default_factory=DetectionEvalConfig)
    resume: str = path("none")  # none, auto (output_dir's last checkpoint, if any) or a file
    train: DetectionRecipe = field(default_factory=DetectionRecipe)

    def default_output_dir(self) -> Path:
        """Folder for the results, if the user names none."""
        return Path("outputs", f"detect-{self.data.name}", self.model.name)


@dataclass
class DetectSearchRun(DetectTrainRun):
    """Settings of ``detect search``: the search of channels, and the training that follows it."""

    search: ChannelSearchConfig = field(default_factory=ChannelSearchConfig)


@dataclass
class DetectEvaluateRun(TaskRun):
    """Settings of ``detect eval``; model and image size are those of the weights."""

    data: DetectionDataConfig = field(default_factory=DetectionDataConfig)
    eval: DetectionFullEvalConfig = field(default_factory=DetectionFullEvalConfig)

    def default_output_dir(self) -> Path:
        """Folder for the results, if the user names none."""
        return Path("outputs", f"detect-{self.data.name}", self.model.name)


def data_name(data: DetectionDataConfig) -> str:
    """Name of a data set: that of its folder, or ``scenes``."""
    return data.name if data.name == "scenes" else Path(data.root).resolve().name


COMMANDS = {
    "detect train": DetectTrainRun,
    "detect search": DetectSearchRun,
    "detect eval": DetectEvaluateRun,
}
SETTINGS.update(COMMANDS)
