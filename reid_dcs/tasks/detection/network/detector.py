"""Cascade Mask R-CNN, whole: images to detections, or to the losses of training."""

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from reid_dcs.errors import InputError
from reid_dcs.models import Backbone, build_backbone
from reid_dcs.models.registry import name_parts
from reid_dcs.tasks.detection.network.cascade import Cascade
from reid_dcs.tasks.detection.network.pyramid import Pyramid
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD

ANCHOR_STRIDES = 8  # side of a square anchor, in strides of its map
RATIOS = (0.5, 1.0, 2.0)
FEWEST_SAMPLES = 4  # a quarter of them may be objects: of fewer, none is


class ProposalHead(RPNHead):
    """torchvision's, with outputs in float32: bfloat16 has 4 pixels between coordinates of 800."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of the pyramid -> objectness (B, A, h, w) and box codes (B, 4 A, h, w) of each."""
        logits, codes = super().forward(x)
        return [each.float() for each in logits], [each.float() for each in codes]


class CascadeMaskRCNN(GeneralizedRCNN):
    """Cascade Mask R-CNN with torchvision's contract.

    Images are a list of (3, H, W) tensors, RGB in [0, 1], of any sizes. In training,
    ``detector(images, targets)`` returns a dictionary of losses to add up; a target has ``boxes``
    (n, 4) as x1, y1, x2, y2 in pixels, ``labels`` (n,) from 1 to K and ``masks`` (n, H, W) uint8.
    In evaluation, ``detector(images)`` returns a list of dictionaries with ``boxes``, ``labels``,
    ``scores`` and ``masks`` (n, 1, H, W), probabilities.

    Args:
        trunk: backbone.
        num_classes: K, without the background.
        channels: of the feature pyramid and of the heads' convolutions.
        hidden: width of the fully connected layer of the box heads.
        samples: boxes of an image that a stage is trained on, at least :data:`FEWEST_SAMPLES`.
        min_size: the shorter side of a resized image; in training one of several, at random.
        max_size: the longer side is resized to at most this.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        channels: int = 256,
        hidden: int = 1024,
        samples: int = 512,
        min_size: int | Sequence[int] = 800,
        max_size: int = 1333,
    ) -> None:
        pyramid = Pyramid(trunk, channels)
        sizes = tuple((ANCHOR_STRIDES * stride,) for stride in pyramid.strides)
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        proposals = RegionProposalNetwork(
            anchors,
            ProposalHead(channels, len(RATIOS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 2000, "testing": 1000},
            nms_thresh=0.7,
        )
        cascade = Cascade(channels, num_classes, hidden, samples)
        sides = (min_size,) if isinstance(min_size, int) else tuple(min_size)
        resize = GeneralizedRCNNTransform(sides, max_size, list(IMAGENET_MEAN), list(IMAGENET_STD))
        super().__init__(pyramid, proposals, cascade, resize)
        self.num_classes = num_classes


def build_detector(
    name: str,
    num_classes: int,
    pretrained: bool | str = False,
    *,
    channels: int = 256,
    hidden: int = 1024,
    samples: int = 512,
    min_size: int | Sequence[int] = 800,
    max_size: int = 1333,
    **options,
) -> CascadeMaskRCNN:
    """Build a detector on one of the backbones of ``reid_dcs.list_models()``.

    Args:
        name: ``<backbone>_<attention>``, such as ``"convnext_tiny_dcs"``.
        num_classes: K, without the background.
        pretrained: True to download ImageNet weights of the backbone, or a local file of them.
        channels, hidden, samples, min_size, max_size: see :class:`CascadeMaskRCNN`.
        options: of the attention and of the backbone, such as ``windows=1`` or ``drop_path=0.4``.

    Raises:
        InputError: an unknown name or option, a bad value, weights that cannot be loaded, or a
            backbone without a pyramid of maps.
    """
    for what, number, least in (
        ("num_classes", num_classes, 1),
        ("channels", channels, 1),
        ("hidden", hidden, 1),
        ("samples", samples, FEWEST_SAMPLES),
    ):
        if type(number) is not int or number < least:
            raise InputError(f"{what} must be a whole number of at least {least}, not {number!r}")
    backbone, attention = name_parts(name)
    stride = {} if "last_stride" in options else {"last_stride": 2}
    try:
        trunk = build_backbone(backbone, attention, **stride, **options)
        if pretrained:
            trunk.load_pretrained(pretrained)
        return CascadeMaskRCNN(trunk, num_classes, channels, hidden, samples, min_size, max_size)
    except ValueError as error:
        raise InputError(f"detector {name}: {error}") from error
