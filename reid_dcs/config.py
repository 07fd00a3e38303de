"""Every setting there is, typed. Unknown keys and wrong types are errors.

The defaults are the demonstration: the generated data set, a DCS network, minutes on two cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from reid_dcs.errors import InputError


def _at_least(minimum: float, default: float) -> Any:
    return field(default=default, metadata={"minimum": minimum})


@dataclass
class ModelConfig:
    """Which network."""

    name: str = "mobilenetv2_dcs"  # of reid_dcs.list_models() or torchreid's zoo
    options: dict[str, Any] = field(default_factory=dict)  # of the attention, such as windows: 1
    pretrained: bool | str = False  # true: ImageNet weights by download; or a local file


@dataclass
class DataConfig:
    """Which images, and how a training batch is made of them."""

    name: str = "synthetic"
    root: str = "datasets"
    options: dict[str, Any] = field(default_factory=dict)  # of the set, such as split_id: 3
    height: int = _at_least(16, 64)
    width: int = _at_least(16, 32)
    batch_size: int = _at_least(1, 32)  # P identities x num_instances images
    num_instances: int = _at_least(1, 2)
    flip: float = _at_least(0, 0.5)  # probability
    padding: int = _at_least(0, 2)  # pixels around the image before a random crop
    erasing: float = _at_least(0, 0.0)  # probability
    brightness: float = _at_least(0, 0.0)  # a factor of 1 - value to 1 + value
    contrast: float = _at_least(0, 0.0)  # the same
    mixup: float = _at_least(0, 0.0)  # alpha of the blending weight's Beta; 0: none
    mapped: bool = False  # feed from a file under <root>/stores instead of from memory


@dataclass
class OptimizerConfig:
    """An optimizer, and its learning rate over a run."""

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = _at_least(0, 2e-3)
    momentum: float = _at_least(0, 0.9)  # of sgd
    weight_decay: float = _at_least(0, 1e-4)
    schedule: Literal["cosine", "step"] = "cosine"  # to zero; or times decay at each milestone
    milestones: list[int] = field(default_factory=list)  # epochs
    decay: float = _at_least(0, 0.1)
    warmup_epochs: float = _at_least(0, 2)  # linear, from a hundredth


@dataclass
class TrainConfig(OptimizerConfig):
    """The recipe. A step of the optimizer is a batch, or ``accumulate`` of them."""

    epochs: int = _at_least(1, 18)
    frozen_epochs: int = _at_least(0, 0)  # the first ones train the head alone
    accumulate: int = _at_least(1, 1)  # batches whose gradients make one step
    clip_norm: float = _at_least(0, 0.0)  # of the whole gradient; 0: as it is
    ema: float = _at_least(0, 0.0)  # decay of averaged weights, which are then evaluated; 0: none
    label_smoothing: float = _at_least(0, 0.1)
    margin: float = _at_least(0, 0.3)  # of the triplet loss
    soft_margin: bool = False  # log(1 + exp(.)) in place of the margin
    triplet_weight: float = _at_least(0, 1.0)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool | None = None  # torch.compile; null: where benchmarks found that it pays
    sync_bn: bool = False  # batch statistics over all processes, on accelerators


@dataclass
class SearchConfig:
    """Algorithm 1: which channels, before the training above finds the weights."""

    epochs: int = _at_least(1, 10)
    share: float = _at_least(0, 0.2)  # p: of an epoch's batches, the last, that step the windows
    weights: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("sgd", 0.035, weight_decay=5e-4, warmup_epochs=0)
    )
    windows: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("sgd", 0.3, weight_decay=0.0, warmup_epochs=0)
    )
    logits: OptimizerConfig = field(  # of Gumbel softmaxes
        default_factory=lambda: OptimizerConfig("adam", 0.03, weight_decay=0.0, warmup_epochs=0)
    )
    temperature: float = _at_least(1e-6, 5.0)  # of Gumbel softmaxes, in the first epoch
    temperature_decay: float = _at_least(0, 0.956)  # a factor an epoch
    temperature_floor: float = _at_least(1e-6, 0.1)
    target_gmacs: float = _at_least(0, 0.0)  # of the network that a supergraph becomes; 0: none
    cost_weight: float = _at_least(0, 1.0)  # of the distance from it, in the windows' turn
    retrain: Literal["auto", "rebuild", "warm_frozen", "warm_joint"] = "auto"  # docs/search.md
    calibration: int = _at_least(1, 256)  # training images that windows.json is about


@dataclass
class AblationConfig:
    """Rows of a table, each a run of its own; empty: one run."""

    rows: dict[str, Any] = field(default_factory=dict)  # settings of each, and paper: [mAP, R1]
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])


@dataclass
class EvalConfig:
    """How features are compared, and how often; from ``weights`` on, of an evaluation alone."""

    metric: Literal["cosine", "euclidean"] = "cosine"
    batch_size: int = _at_least(1, 128)
    every: int = _at_least(0, 0)  # epochs between evaluations; 0: after the last alone
    weights: str = ""  # the file that an evaluation evaluates
    flip: bool = False  # the mean of an image's features and its mirror image's
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    keep_features: bool = True  # for the next evaluation: in output_dir, or beside the weights
    average_precision: Literal["rectangle", "trapezoid"] = "rectangle"  # trapezoid: Market's MATLAB
    single_shot: bool = False  # CUHK03's classic CMC: one gallery image a person, drawn by seed
    rerank: bool = False  # k-reciprocal re-ranking; its results are no single-query results
    k1: int = _at_least(1, 20)
    k2: int = _at_least(1, 6)
    rerank_weight: float = _at_least(0, 0.3)  # of the distance before it
    ranks: int = _at_least(0, 0)  # length of the ranked lists in ranks.png; 0: no picture
    rank_queries: Literal["random", "worst", "best"] = "random"  # whose, by average precision
    report: bool = False  # report.html: all of an evaluation on one page


@dataclass
class Config:
    """A run."""

    seed: int = _at_least(0, 1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    output_dir: str = ""  # empty: outputs/<data.name>/<model.name>
    resume: str = "none"  # none, auto (the output folder's checkpoint, if any) or a file
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


Layer = Config | Mapping[str, Any]
"""Some or all settings, nested; a later layer wins over an earlier one."""


def compose(*layers: Layer) -> Config:
    """The defaults with every layer put over them, checked.

    Raises:
        InputError: an unknown key, a value of a wrong type or out of range.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), *layers)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        key = f"{error.full_key}: " if error.full_key else ""
        raise InputError(f"configuration: {key}{what}") from error
    _check_ranges(config)
    if not config.output_dir:
        config.output_dir = str(Path("outputs", config.data.name, config.model.name))
    return config


def read_config(path: str | Path) -> dict[str, Any]:
    """A YAML file as a layer.

    Raises:
        InputError: no such file, or not YAML.
    """
    try:
        layer = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"configuration file {path}: {reason}") from error
    if not isinstance(layer, dict):
        raise InputError(f"configuration file {path}: expected keys and values")
    return layer


def parse_overrides(overrides: list[str]) -> dict[str, Any]:
    """``["train.epochs=3", "model.options.windows=1"]`` as a layer.

    Raises:
        InputError: not ``key=value``, or the value is no YAML.
    """
    for override in overrides:
        if "=" not in override:
            raise InputError(f"expected key=value, not {override!r}")
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist(overrides))
    except (OmegaConfBaseException, YAMLError) as error:
        raise InputError(f"override: {str(error).splitlines()[0]}") from error


def to_layer(config: Config) -> dict[str, Any]:
    """A configuration in plain types, as written to ``config.yaml`` and checkpoints."""
    return OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)


def _check_ranges(node: Any, prefix: str = "") -> None:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            _check_ranges(value, f"{prefix}{item.name}.")
        minimum = item.metadata.get("minimum")
        if minimum is not None and not value >= minimum:
            raise InputError(
                f"configuration: {prefix}{item.name} must be at least {minimum}, not {value}"
            )
