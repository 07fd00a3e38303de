"""ModelCard: the description of a network in its file of weights, validated when it is read.

A checkpoint holds the keys of the card beside its tensors; safetensors and ONNX files hold them as
JSON in their metadata. Files of earlier versions have some of these keys.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from reid_dcs.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""PIL's resampling filters."""


@dataclass
class Preprocessing:
    """Preprocessing of an image: RGB, resized by PIL, normalized to (x / 255 - mean) / std.

    Attributes:
        height, width: input size of the network, in pixels.
        mean, std: channel statistics, for pixels in [0, 1].
        interpolation: resampling filter of the resize.
        center_crop: 0 if the whole image is resized to height x width; otherwise the fraction of
            the resized image, of unchanged aspect ratio, that a center crop keeps.
    """

    height: int = 256
    width: int = 128
    mean: list[float] = field(default_factory=lambda: list(IMAGENET_MEAN))
    std: list[float] = field(default_factory=lambda: list(IMAGENET_STD))
    interpolation: Interpolation = "bilinear"
    center_crop: float = 0.0


@dataclass(frozen=True)
class ModelCard:
    """Architecture, preprocessing and training of the network that a file of weights holds.

    Attributes:
        model: name of the architecture.
        options: options of ``build_model`` for it.
        num_classes: outputs of the classifier; 0 if the file has no classifier.
        preprocessing: preprocessing of the images.
        task: ``reid``, ``classification`` or ``detection``.
        classes: names of the classes in the order of the outputs; empty for identities, and if
            unknown.
        trained_on: name of the training data set; empty if unknown.
        trained_on_options: options of that data set, such as its split.
        epoch: number of finished epochs; 0 if unknown.
        metrics: metrics of the evaluation after training.
        command: the command that trained the network or measured the metrics.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    num_classes: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    task: str = "reid"
    classes: list[str] = field(default_factory=list)
    trained_on: str = ""
    trained_on_options: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def title(self) -> str:
        """Two lines for figures: the model; its data set and epoch."""
        epoch = f"epoch {self.epoch}" if self.epoch else ""
        return f"{self.model}\n{', '.join(filter(None, (self.trained_on, epoch)))}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The card in plain types, with the keys :data:`CARD_KEYS`.

        ``epoch`` only if known, and ``center_crop`` only if there is one.
        """
        content: dict[str, Any] = {
            "model": {
                "name": self.model,
                "options": self.options,
                "num_classes": self.num_classes,
            },
            "preprocessing": asdict(self.preprocessing),
            "task": self.task,
            "classes": self.classes,
            "trained_on": {"name": self.trained_on, "options": self.trained_on_options},
            "metrics": self.metrics,
            "command": self.command,
        }
        if not self.preprocessing.center_crop:
            del content["preprocessing"]["center_crop"]
        return _plain(content | ({"epoch": self.epoch} if self.epoch else {}))

    def to_share(self) -> dict[str, Any]:
        """:meth:`to_dict` without folders of this machine."""
        shared = replace(self, trained_on_options=without_roots(self.trained_on_options))
        return shared.to_dict()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: object) -> "ModelCard":
        """Read a card from the keys :data:`CARD_KEYS` of ``content``; other keys are ignored.

        Keys that files of earlier versions lack get their defaults; their data set is read from
        ``config``.

        Args:
            content: content of a file, or the result of :meth:`to_dict`.
            source: name of the file, for errors.

        Raises:
            InputError: a key is unknown or missing, or a value has a wrong type or range.
        """
        card = {key: content[key] for key in CARD_KEYS if key in content}
        if "trained_on" not in card:
            card["trained_on"] = _data_set_of_config(content)
        _validate(card, _RULES, source)
        card = _plain(card)
        model, trained_on = card.get("model", {}), card["trained_on"]
        if "name" not in model:
            raise _wrong(source, "model.name is missing")
        return cls(
            model=model["name"],
            options=model.get("options", {}),
            num_classes=model.get("num_classes", 0),
            preprocessing=Preprocessing(**card.get("preprocessing", {})),
            trained_on=trained_on.get("name", ""),
            trained_on_options=trained_on.get("options", {}),
            **{
                key: card[key]
                for key in ("task", "classes", "epoch", "metrics", "command")
                if key in card
            },
        )


def without_roots(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set; those of each part of a joint set without its folder."""
    return {
        name: {key: value for key, value in part.items() if key != "root"}
        if isinstance(part, Mapping)
        else part
        for name, part in options.items()
    }


def read_card(content: Mapping[str, Any], source: object) -> ModelCard | None:
    """Read the card of a file of weights; None if the file does not name its model.

    Args:
        content: result of :func:`reid_dcs.weights.read_weights`.
        source: name of the file, for errors.

    Raises:
        InputError: the card is not valid.
    """
    if "model" not in content:
        return None
    try:
        card = ModelCard.from_dict(content, source)
    except InputError as error:
        raise InputError(f"{error}; save its state dict alone and pass --model NAME") from error
    return replace(card, num_classes=count_classes(content["state_dict"]))


def count_classes(state: "Mapping[str, Tensor]") -> int:
    """Outputs of the classifier in a state dict; 0 without one."""
    weight = state.get("classifier.weight")
    return len(weight) if weight is not None and weight.ndim == 2 else 0


# --- validation ----------------------------------------------------------------------------------

_MAX_DEPTH = 20  # levels of nested options
_MAX_SIZE = 10_000  # pixels of height or width


def _are_numbers(value: object, above: float = -math.inf) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(type(v) in (int, float) and math.isfinite(v) and v > above for v in value)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_plain(value: object, levels: int = _MAX_DEPTH) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and _is_plain([*value.values()], levels)
    if isinstance(value, list | tuple):
        return levels > 0 and all(_is_plain(each, levels - 1) for each in value)
    return value is None or isinstance(value, str | bool | int | float)


Rule = tuple[str, Callable[[Any], bool]]
"""Description of the valid values, and the check of a value."""
_TEXT: Rule = ("text", lambda v: isinstance(v, str))
_NAME: Rule = ("a name", lambda v: isinstance(v, str) and v != "" and v.isprintable())
_COUNT: Rule = ("a whole number", lambda v: type(v) is int and v >= 0)
_SIZE: Rule = (
    f"a whole number from 1 to {_MAX_SIZE}",
    lambda v: type(v) is int and 1 <= v <= _MAX_SIZE,
)
_PLAIN: Rule = ("keys and plain values", lambda v: isinstance(v, Mapping) and _is_plain(v))
_FILTER: Rule = (
    f"one of {', '.join(get_args(Interpolation))}",
    lambda v: isinstance(v, str) and v in get_args(Interpolation),
)

_RULES: dict[str, Rule | dict[str, Rule]] = {
    "model": {"name": _NAME, "options": _PLAIN, "num_classes": _COUNT},
    "preprocessing": {
        "height": _SIZE,
        "width": _SIZE,
        "mean": ("three numbers", _are_numbers),
        "std": ("three numbers above 0", lambda v: _are_numbers(v, above=0.0)),
        "interpolation": _FILTER,
        "center_crop": (
            "0, or a number from 0.1 to 1",  # less would make over 100 times the pixels
            lambda v: type(v) in (int, float) and (v == 0 or 0.1 <= v <= 1),
        ),
    },
    "task": _NAME,
    "classes": ("a list of names", _are_names),
    "trained_on": {"name": _TEXT, "options": _PLAIN},
    "epoch": _COUNT,
    "metrics": _PLAIN,
    "command": _TEXT,
}
CARD_KEYS = tuple(_RULES)
"""The keys of a card in a file."""


def _validate(content: object, rules: Mapping[str, Any], source: object, prefix: str = "") -> None:
    if not isinstance(content, Mapping):
        raise _wrong(source, f"{prefix[:-1]} must be keys and values, not {_short(content)}")
    for key, value in content.items():
        rule = rules.get(key)
        if rule is None:
            raise _wrong(source, f"{prefix}{key} is unknown")
        if isinstance(rule, Mapping):
            _validate(value, rule, source, f"{key}.")
            continue
        expected, is_valid = rule
        if not is_valid(value):
            raise _wrong(source, f"{prefix}{key} must be {expected}, not {_short(value)}")


def _data_set_of_config(content: Mapping[str, Any]) -> dict[str, Any]:
    """The data set in ``config``, for files written before ``trained_on`` was a key."""
    config = content.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(data, Mapping):
        return {}
    return {key: data[key] for key in ("name", "options") if key in data}


def _wrong(source: object, what: str) -> InputError:
    return InputError(f"{source}: wrong model card: {what}")


def _short(value: object) -> str:
    text = " ".join(reprlib.repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """A copy with lists for tuples and dictionaries for other mappings."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
