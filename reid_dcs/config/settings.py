"""Every setting with its type, default and range: a class for each command.

The defaults train a DCS network on the synthetic data set within minutes on two cores. A class has
only the settings that its command uses; commands share groups by inheritance. The groups that a
task shares with re-identification are :class:`TaskRun`, :class:`TrainModelConfig`,
:class:`RecipeConfig` and the configurations of searches.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reid_dcs.errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


def number(default: float | None, **bounds: float) -> Any:
    """A number with bounds: ``at_least``, ``at_most``, ``above`` or ``below``."""
    return field(default=default, metadata={"bounds": bounds})


def probability(default: float) -> Any:
    return number(default, at_least=0, at_most=1)


def path(default: Any) -> Any:
    """A path; a leading ``~`` is expanded to the home folder."""
    return field(default=default, metadata={"path": True})


def options() -> Any:
    """Keyword arguments; text that begins with ``~/`` is expanded as a path."""
    return field(default_factory=dict, metadata={"path": True})


_SIDES = {"at_least": 16, "at_most": 8192}

# bounded because random generators are seeded with 64-bit multiples of the seed
_SEEDS = {"at_least": 0, "at_most": 2**32 - 1}


NOT_OPTIONS = frozenset(
    ("name", "attention", "num_classes", "loss", "pretrained", "use_gpu", "task")
    + ("min_size", "max_size")
)
"""What ``model.options`` cannot have: arguments of networks that come from other settings."""


@dataclass
class ModelConfig:
    """The network."""

    name: str = "mobilenetv2_dcs"  # one of reid_dcs.list_models() or of torchreid's models
    options: dict[str, Any] = options()  # of attention and backbone, such as {windows: 1}

    def __post_init__(self) -> None:
        for key in sorted(NOT_OPTIONS & self.options.keys()):
            raise InputError(f"model.options.{key} is not an option of a network")


@dataclass
class TrainModelConfig(ModelConfig):
    """The network, and the weights that training starts from."""

    pretrained: bool | str = path(False)  # true: download ImageNet weights; or a file


@dataclass
class ImagesConfig:
    """The data set, and the size that its images are resized to."""

    name: str = "synthetic"  # or several to train on: [market1501,msmt17]
    root: str = path("datasets")  # folder of the data set, or the one that contains it
    options: dict[str, Any] = options()  # of the data set, such as split_id: 3
    height: int = number(64, at_least=16, at_most=10_000)  # pixels
    width: int = number(32, at_least=16, at_most=10_000)


@dataclass
class EvaluateDataConfig(ImagesConfig):
    """The data set, and the storage of its decoded images."""

    mapped: bool = False  # memory-map decoded images from <root>/stores


@dataclass
class PhaseConfig:
    """The first epochs of a training, or the next ones, at another input size."""

    epochs: int = field(metadata={"bounds": {"at_least": 1}})
    height: int = field(metadata={"bounds": {"at_least": 16, "at_most": 10_000}})  # pixels
    width: int = field(metadata={"bounds": {"at_least": 16, "at_most": 10_000}})
    batch_size: int | None = number(None, at_least=1)  # null: that of data
    padding: int | None = number(None, at_least=0, at_most=1024)  # null: that of data


@dataclass
class TrainDataConfig(EvaluateDataConfig):
    """The data set, and the sampling and augmentation of training batches."""

    batch_size: int = number(32, at_least=1)  # P identities x num_instances images
    num_instances: int = number(2, at_least=1)  # images of each identity in a batch
    flip: float = probability(0.5)  # probability of a horizontal flip
    padding: int = number(
        2, at_least=0, at_most=1024
    )  # pixels added on each side before a random crop
    erasing: float = probability(0.0)  # probability of random erasing
    brightness: float = probability(0.0)  # jitter by a factor in 1 - value .. 1 + value
    contrast: float = probability(0.0)  # likewise
    # alpha of the Beta distribution; 0: no mixup. Of the training: a search mixes no images
    mixup: float = number(0.0, at_least=0)
    # the first epochs at other input sizes, in order; the remaining ones are at height x width
    phases: list[PhaseConfig] = field(default_factory=list)


@dataclass
class OptimizerConfig:
    """An optimizer and its learning rate schedule."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = number(2e-3, at_least=0)
    momentum: float = number(0.9, at_least=0, below=1)  # SGD only
    weight_decay: float = number(1e-4, at_least=0)
    schedule: Literal["cosine", "step"] = "cosine"  # cosine decay to zero, or steps
    milestones: list[int] = field(  # steps: epochs after which lr_decay is applied
        default_factory=list, metadata={"bounds": {"at_least": 1}}
    )
    lr_decay: float = number(0.1, above=0, at_most=1)  # factor of the learning rate
    warmup_epochs: float = number(2, at_least=0)  # linear, from 1 %; at most half of the run


@dataclass
class RecipeConfig(OptimizerConfig):
    """The training recipe of any task; a task adds its losses."""

    # a file of weights or a name of the model zoo, to start from instead of model.pretrained
    init: str = path("")
    epochs: int = number(18, at_least=1, at_most=1_000_000)
    frozen_epochs: int = number(0, at_least=0)  # first epochs, which train only the head
    accumulate: int = number(1, at_least=1)  # batches per optimizer step
    clip_norm: float = number(0.0, at_least=0)  # maximum norm of the gradient; 0: no clipping
    ema: float = number(0.0, at_least=0, below=1)  # decay of averaged weights; 0: no average
    precision: Precision = "auto"
    compile: bool | None = None  # torch.compile; null: on CUDA only
    # CUDA graphs of the training's passes in place of train.compile, which still holds for a search
    capture: bool = False
    sync_bn: bool = False  # synchronize batch norm statistics over processes, on accelerators


@dataclass
class TrainConfig(RecipeConfig):
    """The training recipe of re-identification."""

    label_smoothing: float = number(0.1, at_least=0, below=1)
    margin: float = number(0.3, at_least=0)  # triplet loss
    soft_margin: bool = False  # triplet loss: log(1 + exp(.)) instead of the margin
    triplet_weight: float = number(1.0, at_least=0)  # weight in the total loss
    # what the triplet loss compares: as evaluation, the BN neck's feature at unit length, or the
    # pooled one, which collapsed in our trainings from scratch; auto: after_neck, or in networks of
    # torchreid, which have no neck, their own feature
    triplet_feature: Literal["auto", "after_neck", "before_neck"] = "auto"
    ib_weight: float = number(0.0, at_least=0)  # weight of the information bottleneck term


def _search_optimizer(
    optimizer: Literal["adam", "sgd"], rate: float, weight_decay: float, warmup_epochs: float
) -> Any:
    return field(
        default_factory=lambda: OptimizerConfig(
            optimizer, rate, weight_decay=weight_decay, warmup_epochs=warmup_epochs
        )
    )


@dataclass
class ChannelSearchConfig:
    """The search of channels (Algorithm 1) that precedes the training."""

    # 0: no search; windows are trained along with the weights
    epochs: int = number(10, at_least=0, at_most=1_000_000)
    # p, the fraction of each epoch's batches (the last ones) that update the windows
    window_share: float = number(0.2, above=0, below=1)
    # of the network; at the paper's rate, 0.035, short searches diverged (docs/results.md)
    weight_optimizer: OptimizerConfig = _search_optimizer("sgd", 0.01, 5e-4, 1)
    window_optimizer: OptimizerConfig = _search_optimizer("sgd", 0.3, 0.0, 0)  # of the windows
    # unit of window_optimizer's learning rate: channels, or the number of channels of a block, so
    # that a short search moves windows as far in wide blocks as in narrow ones
    window_unit: Literal["channel", "block"] = "channel"
    # of the Gumbel-softmax logits
    logit_optimizer: OptimizerConfig = _search_optimizer("adam", 0.03, 0.0, 0)
    # joint: start and length move in one step. separate: Algorithm 1 as printed; a batch moves the
    # starts by its loss, then the lengths by a fresh one
    window_steps: Literal["joint", "separate"] = "joint"
    temperature: float = number(5.0, at_least=1e-6)  # Gumbel softmax, first epoch
    temperature_decay: float = number(0.956, above=0, at_most=1)  # factor per epoch
    temperature_floor: float = number(0.1, at_least=1e-6)  # minimum
    # scale of the windows' edges in the first batch, as a fraction of the channels; it decays
    # exponentially, and edges are hard from the last batch on. 0: hard edges throughout
    window_softness: float = number(0.0, at_least=0, at_most=1)
    # target of the mean fraction of the channels that windows select; 0: no target
    target_share: float = number(0.0, at_least=0, at_most=1)
    share_scope: Literal["network", "block"] = "network"  # mean over all blocks, or each block
    share_weight: float = number(1.0, at_least=0)  # weight of the share penalty in the loss
    # what the training starts from: docs/search.md
    retrain: Literal["auto", "rebuild", "warm_frozen", "warm_joint"] = "auto"
    # training images that windows.json and the batch norms of a derived network are measured on
    calibration: int = number(256, at_least=2)


@dataclass
class SearchConfig(ChannelSearchConfig):
    """The search of channels, of a backbone, or of both."""

    # target of a backbone search: 10^9 multiply-adds of the derived network; 0: no target
    target_gmacs: float = number(0.0, at_least=0)
    cost_weight: float = number(1.0, at_least=0)  # weight of the cost penalty in the loss


@dataclass
class AblationConfig:
    """The rows of a table, each a separate run; without rows, a single run."""

    # name of the row: its settings, and optionally the paper's figures by data set, as in
    # paper: {market1501: [mAP, rank-1]}
    rows: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3], metadata={"bounds": _SEEDS})


@dataclass
class EvalConfig:
    """The comparison of query and gallery."""

    metric: Literal["cosine", "euclidean"] = "cosine"
    batch_size: int = number(128, at_least=1)


@dataclass
class TrainEvalConfig(EvalConfig):
    """The evaluations of a training run."""

    every: int = number(0, at_least=0)  # epochs between evaluations; 0: only after the last


@dataclass
class ProtocolConfig(EvalConfig):
    """The weights to evaluate, and the protocol."""

    weights: str = path("")  # checkpoint, or a name of the model zoo
    flip: bool = False  # average the features of an image and its mirror image
    precision: Precision = "float32"
    average_precision: Literal["rectangle", "trapezoid"] = "rectangle"  # trapezoid: Market-1501's
    single_shot: bool = False  # CUHK03's classic CMC: one random gallery image per identity
    rerank: bool = False  # k-reciprocal re-ranking; not comparable with single-query results
    k1: int = number(20, at_least=1)  # neighbors in re-ranking
    k2: int = number(6, at_least=1)  # neighbors for query expansion in re-ranking
    rerank_weight: float = probability(0.3)  # of the original distance in re-ranking


@dataclass
class FullEvalConfig(ProtocolConfig):
    """The evaluation of trained weights, and what it writes."""

    keep_features: bool = True  # cache features in output_dir, or beside the weights
    ranks: int = number(0, at_least=0)  # length of the lists in ranks.png and .csv; 0: none
    open_set: float = probability(0.0)  # false-accept rate of open-set rank-1; 0: not computed
    rank_queries: Literal["random", "worst", "best"] = "random"  # queries in ranks.png, by AP
    report: bool = False  # write report.html
    worth: bool = False  # in the report: evaluations with other windows (docs/visual.md)


@dataclass
class TaskRun:
    """Settings that the commands of all tasks share."""

    seed: int = number(1, **_SEEDS)
    device: str = "auto"  # auto, cpu, cuda, cuda:1 (the second GPU) or mps
    output_dir: str = path("")  # empty: outputs/<data set>/<model.name>
    model: ModelConfig = field(default_factory=ModelConfig)


@dataclass
class Run(TaskRun):
    """Settings that training, search and evaluation of re-identification share."""

    data: EvaluateDataConfig = field(default_factory=EvaluateDataConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)

    def default_output_dir(self) -> Path:
        """Folder for the results, if the user names none."""
        return Path("outputs", self.data.name, self.model.name)


@dataclass
class TrainRun(Run):
    """Settings of ``train``."""

    model: TrainModelConfig = field(default_factory=TrainModelConfig)
    data: TrainDataConfig = field(default_factory=TrainDataConfig)
    eval: TrainEvalConfig = field(default_factory=TrainEvalConfig)
    resume: str = path("none")  # none, auto (output_dir's last checkpoint, if any) or a file
    train: TrainConfig = field(default_factory=TrainConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)


@dataclass
class SearchRun(TrainRun):
    """Settings of ``search``: the search, and the training and evaluation that follow it."""

    search: SearchConfig = field(default_factory=SearchConfig)


@dataclass
class EvaluateRun(Run):
    """Settings of ``eval``; model, input size and data set default to those of the weights."""

    eval: FullEvalConfig = field(default_factory=FullEvalConfig)


@dataclass
class WorthRun(Run):
    """Settings of ``channels worth``, which are among those of ``eval``."""

    eval: ProtocolConfig = field(default_factory=ProtocolConfig)


@dataclass
class PrepareData:
    """Settings of ``data``."""

    data: ImagesConfig = field(default_factory=lambda: ImagesConfig(height=256, width=128))


SETTINGS: dict[str, type] = {
    "train": TrainRun,
    "search": SearchRun,
    "eval": EvaluateRun,
    "channels worth": WorthRun,
    "data": PrepareData,
}
"""The settings class of each command. Another task adds its own when it is imported."""

RENAMED = {
    "train.decay": "train.lr_decay",
    "search.share": "search.window_share",
    "search.weights": "search.weight_optimizer",
    "search.windows": "search.window_optimizer",
    "search.logits": "search.logit_optimizer",
    "search.weight_optimizer.decay": "search.weight_optimizer.lr_decay",
    "search.window_optimizer.decay": "search.window_optimizer.lr_decay",
    "search.logit_optimizer.decay": "search.logit_optimizer.lr_decay",
}
"""New names of renamed settings and groups, by old name; applied in order."""
