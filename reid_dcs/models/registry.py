"""Names: ``<backbone>_<attention>``, here and in torchreid's model zoo."""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial

from torch import nn
from torchreid import models as torchreid_models

from reid_dcs.attention import ATTENTIONS, build_attention
from reid_dcs.errors import InputError
from reid_dcs.models.heads.reid import ReIDNetwork

AttentionFactory = Callable[[int], nn.Module]
"""From the channels of a feature map to the block put after it."""

Backbone = Callable[..., nn.Module]
"""From an attention factory to a trunk, (B, 3, H, W) -> (B, out_channels, h, w).

A trunk has ``out_channels``. One with ImageNet weights has their ``donor``, and ``inherit(given)``,
which takes the weights of the donor's trunk. Keyword-only arguments of the backbone are options of
the model.
"""

_TORCHREID_ZOO: dict[str, Callable[..., nn.Module]] = vars(torchreid_models)["__model_factory"]
_MODELS: dict[str, Callable[..., ReIDNetwork]] = {}


def register_backbone(backbone: Backbone) -> Backbone:
    """Enter a backbone under its function's name, without and with each attention.

    ``mobilenetv2`` becomes ``mobilenetv2_base``, ``mobilenetv2_dcs`` and so on, known to
    :func:`build_model` and to torchreid's ``models.build_model``.

    Raises:
        ValueError: torchreid has a network of that name, which is never replaced.
    """
    for kind in ("base", *ATTENTIONS):
        name = f"{backbone.__name__}_{kind}"
        if name in _TORCHREID_ZOO:
            raise ValueError(f"the model name {name!r} is taken")
        _MODELS[name] = _TORCHREID_ZOO[name] = partial(_assemble, backbone, kind)
    return backbone


def _assemble(
    backbone: Backbone,
    kind: str,
    num_classes: int,
    loss: str = "softmax",
    pretrained: bool | str = False,
    use_gpu: bool = False,  # torchreid passes it; a module is moved by its owner
    **options,
) -> ReIDNetwork:
    own = {k: options.pop(k) for k in backbone.__kwdefaults__ or () if k in options}
    trunk = backbone(attention_factory(kind, **options), **own)
    if pretrained:
        donor = getattr(trunk, "donor", None)
        if donor is None:
            raise InputError(
                f"model {backbone.__name__}_{kind}: there are no official ImageNet weights of "
                f"{backbone.__name__}; train it from scratch with model.pretrained=false"
            )
        trunk.inherit(donor.load(pretrained))
    return ReIDNetwork(trunk, trunk.out_channels, num_classes, loss)


def attention_factory(kind: str, **options) -> AttentionFactory:
    """Makes the blocks of a kind; ``"base"`` is no attention.

    Raises:
        TypeError: options, where there is no attention to have them.
    """
    if kind != "base":
        return partial(build_attention, kind, **options)
    if options:
        raise TypeError(f"a network without attention takes no options, not {options}")
    return lambda channels: nn.Identity()


def list_models(pattern: str = "*") -> list[str]:
    """Names of this package's models that match a glob, sorted: ``list_models("*_dcs")``."""
    return sorted(name for name in _MODELS if fnmatch(name, pattern))


def build_model(
    name: str,
    num_classes: int,
    loss: str = "triplet",
    pretrained: bool | str = False,
    **options,
) -> nn.Module:
    """Build a network by name: one of :func:`list_models` or any of torchreid's zoo.

    Args:
        name: such as ``"mobilenetv2_dcs"`` or ``"osnet_x1_0"``.
        num_classes: identities in training.
        loss: ``"softmax"`` or ``"triplet"``; what training's forward pass returns.
        pretrained: True for ImageNet weights by download, or a local file of them.
        options: of the attention, such as ``mode="interp"`` or ``windows=1``, and of the
            backbone, such as ``architecture=FILE`` of ``fbnetv2``.

    Raises:
        InputError: an unknown name or option, a bad value, weights that cannot be had.
    """
    if name not in _TORCHREID_ZOO:
        close = get_close_matches(name, _TORCHREID_ZOO, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see reid_dcs.list_models()"
        raise InputError(f"unknown model {name!r}: {hint}")
    build = partial(_TORCHREID_ZOO[name], num_classes=num_classes, loss=loss)
    if name not in _MODELS:
        return _from_torchreid(name, build, pretrained, options)
    try:
        return build(pretrained=pretrained, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"model {name}: {error}") from error


def _from_torchreid(
    name: str, build: Callable[..., nn.Module], pretrained: bool | str, options: dict
) -> nn.Module:
    if options:
        raise InputError(f"model {name} is torchreid's and takes no options, not {options}")
    if pretrained:
        raise InputError(
            f"model {name} is torchreid's, whose pretrained weights may silently stay random: "
            "train it from scratch, or evaluate its checkpoint with --weights"
        )
    return build(pretrained=False, use_gpu=False)
