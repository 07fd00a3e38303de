"""Backbones and Re-ID networks by name; the latter in torchreid's model zoo too."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial

from torch import nn
from torchreid import models as torchreid_models

from reid_dcs.attention import ATTENTIONS, build_attention
from reid_dcs.errors import InputError
from reid_dcs.models.backbones import convnext, fbnetv2, mobilenetv2, osnet, resnet
from reid_dcs.models.backbones.base import AttentionFactory, Backbone
from reid_dcs.models.heads.reid import ReIDNetwork

BackboneFunction = Callable[..., Backbone]
"""From an attention factory to a backbone; its keyword-only arguments are the backbone's options.

``last_stride`` is one of them, with the stride of the Re-ID network as its default.
"""

KINDS = ("base", *ATTENTIONS)
"""Second part of a model's name; ``base`` is no attention."""

_TORCHREID_ZOO: dict[str, Callable[..., nn.Module]] = vars(torchreid_models)["__model_factory"]
_BACKBONES: dict[str, BackboneFunction] = {}
_MODELS: dict[str, Callable[..., ReIDNetwork]] = {}
_PARTS: dict[str, tuple[str, str]] = {}


def register_backbone(function: BackboneFunction) -> BackboneFunction:
    """Register a backbone under its function's name, without and with each attention.

    ``mobilenetv2`` becomes known to :func:`build_backbone`, and ``mobilenetv2_base``,
    ``mobilenetv2_dcs`` and so on to :func:`build_model` and torchreid's ``models.build_model``.

    Raises:
        ValueError: a name that this package or torchreid has already, which is never replaced.
    """
    names = {kind: f"{function.__name__}_{kind}" for kind in KINDS}
    for name in names.values():
        if name in _TORCHREID_ZOO:
            raise ValueError(f"the model name {name!r} is taken")
    _BACKBONES[function.__name__] = function
    for kind, name in names.items():
        _MODELS[name] = _TORCHREID_ZOO[name] = partial(_build_reid, name, function, kind)
        _PARTS[name] = (function.__name__, kind)
    return function


def build_backbone(
    name: str, attention: str = "dcs", last_stride: int | None = None, **options
) -> Backbone:
    """Build a backbone for any task.

    Args:
        name: such as ``"mobilenetv2"`` or ``"resnet50"``.
        attention: a kind of ``reid_dcs.attention.ATTENTIONS``, or ``"base"`` for none.
        last_stride: of the last stage: 1 is usual in re-identification, 2 in classification and
            detection. By default that of :func:`build_model`: 1, and for ``fbnetv2`` 2, as its
            tables print. ``osnet_x1_0`` has 1 alone.
        options: of the attention, such as ``windows=1``, and of the backbone, such as
            ``architecture=FILE`` of ``fbnetv2``.

    Raises:
        InputError: an unknown name or option, a bad value.
    """
    if name not in _BACKBONES:
        raise InputError(f"unknown backbone {name!r}: {_suggestion(name, _BACKBONES)}")
    if attention not in KINDS:
        raise InputError(f"unknown attention {attention!r}: {_suggestion(attention, KINDS)}")
    if last_stride is not None:
        options["last_stride"] = last_stride
    with _input_errors(f"backbone {name} with attention {attention}"):
        return _build(_BACKBONES[name], attention, options)


def build_model(
    name: str,
    num_classes: int,
    loss: str = "triplet",
    pretrained: bool | str = False,
    **options,
) -> nn.Module:
    """Build a Re-ID network: one of :func:`list_models` or any of torchreid's zoo.

    Args:
        name: such as ``"mobilenetv2_dcs"`` or ``"osnet_x1_0"``.
        num_classes: number of identities in training.
        loss: ``"softmax"`` or ``"triplet"``; decides what the network returns in training.
        pretrained: True to download ImageNet weights, or a local file of them.
        options: those of :func:`build_backbone`, such as ``windows=1`` or ``last_stride=2``.

    Raises:
        InputError: an unknown name or option, a bad value, weights that cannot be loaded.
    """
    if name not in _TORCHREID_ZOO:
        suggestion = _suggestion(name, _TORCHREID_ZOO, "see reid_dcs.list_models()")
        raise InputError(f"unknown model {name!r}: {suggestion}")
    if name in _MODELS:
        return _MODELS[name](num_classes, loss, pretrained, **options)
    return _build_torchreids(name, num_classes, loss, pretrained, options)


def list_models(pattern: str = "*") -> list[str]:
    """Names of this package's Re-ID networks that match a glob, sorted."""
    return sorted(name for name in _MODELS if fnmatch(name, pattern))


def name_parts(name: str) -> tuple[str, str]:
    """Backbone and kind of attention of a name: ``mobilenetv2_dcs`` -> ``mobilenetv2``, ``dcs``.

    Raises:
        InputError: not one of :func:`list_models`.
    """
    if name not in _PARTS:
        raise InputError(
            f"unknown model {name!r}: {_suggestion(name, _PARTS, 'see reid_dcs.list_models()')}"
        )
    return _PARTS[name]


def backbone_options(name: str) -> frozenset[str]:
    """Names of a backbone's own options, such as ``last_stride``."""
    return frozenset(_BACKBONES[name].__kwdefaults__ or ())


def attention_factory(kind: str, **options) -> AttentionFactory:
    """A function from channels to an attention block; for ``"base"`` to the identity.

    Raises:
        TypeError: an option that it does not have; ``"base"`` has none.
    """
    if kind == "base":
        if options:
            raise TypeError(f"a network without attention has no options, not {options}")
        return lambda channels: nn.Identity()
    known = sorted(_keyword_options(kind))
    for option in options.keys() - set(known):
        raise TypeError(f"unknown option {option!r}: {_suggestion(option, known)}")
    return partial(build_attention, kind, **options)


def _build(function: BackboneFunction, kind: str, options: dict) -> Backbone:
    """Call a backbone's function, its options told from those of the attention."""
    backbone_options = set(function.__kwdefaults__ or ())
    attention_options = _keyword_options(kind)
    for option in options:
        if option not in backbone_options | attention_options:
            suggestion = _suggestion(option, sorted(backbone_options | attention_options))
            raise TypeError(f"unknown option {option!r}: {suggestion}")
    attention = {k: v for k, v in options.items() if k not in backbone_options}
    backbone = {k: v for k, v in options.items() if k in backbone_options}
    return function(attention_factory(kind, **attention), **backbone)


def _keyword_options(kind: str) -> set[str]:
    """Options of an attention: keyword-only arguments of its class and its base classes."""
    classes = ATTENTIONS[kind].__mro__ if kind != "base" else ()
    constructors = (vars(cls).get("__init__") for cls in classes)
    return {name for init in constructors for name in getattr(init, "__kwdefaults__", None) or ()}


def _build_reid(
    name: str,
    function: BackboneFunction,
    kind: str,
    /,  # an option may have one of these names, and is unknown then
    num_classes: int,
    loss: str = "softmax",
    pretrained: bool | str = False,
    use_gpu: bool = False,  # an argument of torchreid's, which moves the network itself
    **options,
) -> ReIDNetwork:
    with _input_errors(f"model {name}"):
        trunk = _build(function, kind, options)
        if pretrained:
            trunk.load_pretrained(pretrained)
        return ReIDNetwork(trunk, num_classes, loss)


def _build_torchreids(
    name: str, num_classes: int, loss: str, pretrained: bool | str, options: dict
) -> nn.Module:
    if options:
        raise InputError(f"model {name} is torchreid's and has no options, not {options}")
    if pretrained:
        raise InputError(
            f"model {name} is torchreid's, whose pretrained weights may silently stay random: "
            "train it from scratch, or evaluate its checkpoint with --weights"
        )
    build = _TORCHREID_ZOO[name]
    return build(num_classes=num_classes, loss=loss, pretrained=False, use_gpu=False)


@contextmanager
def _input_errors(what: str) -> Iterator[None]:
    """Turn a wrong option or value into an ``InputError`` that names what was built."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: {error}") from error


def _suggestion(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The names closest to a wrong one; if none is close, ``otherwise`` or all of them."""
    if close := get_close_matches(word, known, n=3):
        return f"did you mean {' or '.join(close)}?"
    return otherwise or f"known: {', '.join(known)}"


for _function in (
    mobilenetv2.mobilenetv2,
    mobilenetv2.mobilenetv2_200,
    osnet.osnet_x1_0,
    resnet.resnet50,
    convnext.convnext_tiny,
    convnext.convnext_small,
    convnext.convnext_base,
    fbnetv2.fbnetv2,
    fbnetv2.fbnetv2_large,
    fbnetv2.fbnetv2_xlarge,
    *fbnetv2.found_backbones(),
):
    register_backbone(_function)
