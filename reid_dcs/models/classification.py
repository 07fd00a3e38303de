"""Image classification networks by name: any backbone and attention, with a linear classifier."""

from pathlib import Path

from reid_dcs.errors import InputError
from reid_dcs.models.heads.classifier import ClassificationNetwork
from reid_dcs.models.registry import backbone_options, build_backbone, name_parts
from reid_dcs.weights import load_exactly

LAST_STRIDE = 2  # Table 4 as printed, and torchvision
STRIDE_OF_ITS_OWN = ("osnet_x1_0",)  # published without a stride in its last stage


def build_classifier(
    name: str, num_classes: int, pretrained: bool | str | Path = False, **options
) -> ClassificationNetwork:
    """Build an image classification network.

    Args:
        name: as for :func:`reid_dcs.build_model`, such as ``"mobilenetv2_dcs"``.
        num_classes: number of classes.
        pretrained: True to download torchvision's ImageNet weights, or a local file of them. The
            classifier is loaded too if the file has one for ``num_classes`` classes.
        options: those of :func:`reid_dcs.models.build_backbone`; ``last_stride`` is 2 by default,
            for all but OSNet.

    Raises:
        InputError: an unknown name or option, a bad value, weights that cannot be loaded.
    """
    backbone, kind = name_parts(name)
    if "last_stride" in backbone_options(backbone) and backbone not in STRIDE_OF_ITS_OWN:
        options = {"last_stride": LAST_STRIDE} | options
    trunk = build_backbone(backbone, kind, **options)
    network = ClassificationNetwork(trunk, num_classes)
    if pretrained:
        try:
            state = trunk.load_pretrained(pretrained)
        except ValueError as error:
            raise InputError(f"model {name}: {error}") from error
        if state and len(state["weight"]) == num_classes:
            load_exactly(network.classifier, state, pretrained)
    return network
