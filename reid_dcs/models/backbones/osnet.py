"""OSNet x1.0 (Zhou et al., 2019) with attention after conv2, conv3, conv4 and conv5."""

from torch import Tensor, nn
from torchreid import models as torchreid_models

from reid_dcs.models.backbones.base import AttentionFactory, Backbone
from reid_dcs.models.pretrained import Donor
from reid_dcs.weights import load_exactly
from reid_dcs.zoo import WeightsFile

_DRIVE_ID = torchreid_models.osnet.pretrained_urls["osnet_x1_0"].partition("id=")[2]


def _torchreid_backbone() -> nn.Module:
    network = torchreid_models.osnet.osnet_x1_0(num_classes=1, pretrained=False)
    del network.classifier
    return network


class OSNet(Backbone, torchreid_models.osnet.OSNet):
    """torchreid's OSNet x1.0 without its classifier, with the same parameter names.

    Args:
        attention: channels -> the block inserted after a stage.
    """

    conv1: nn.Module
    maxpool: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv4: nn.Module
    conv5: nn.Module
    fc: nn.Module

    out_channels = 512
    after_stages = ("fc",)
    donor = Donor(
        title="torchreid's ImageNet weights of osnet_x1_0",
        weights=WeightsFile(
            file="osnet_x1_0_imagenet.pth",
            sources=[f"drive:{_DRIVE_ID}"],
        ),
        backbone=_torchreid_backbone,
    )

    def __init__(self, attention: AttentionFactory) -> None:
        super().__init__(
            num_classes=1,
            blocks=[torchreid_models.osnet.OSBlock] * 3,
            layers=[2, 2, 2],
            channels=[64, 256, 384, 512],
        )
        del self.classifier
        self.stage_channels = [256, 384, 512, 512]
        self.stage_strides = [8, 16, 16, 16]
        self.attentions = nn.ModuleList(map(attention, self.stage_channels))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of conv2 to conv5, the first at H/8, the others at H/16."""
        x = self.maxpool(self.conv1(x))  # (B, 64, H/4, W/4)
        return self.run_stages(x, (self.conv2, self.conv3, self.conv4, self.conv5))

    def stage_modules(self) -> list[list[nn.Module]]:
        """The stem and conv2, then conv3 to conv5."""
        return [[self.conv1, self.conv2], [self.conv3], [self.conv4], [self.conv5]]

    def embed(self, pooled: Tensor) -> Tensor:
        """OSNet's fully connected layer, BN and ReLU: (B, 512) -> (B, 512)."""
        return self.fc(pooled)

    def inherit(self, donor: nn.Module) -> None:
        """Copy the weights of torchreid's backbone, including its fully connected layer."""
        load_exactly(self, donor.state_dict(), self.donor.title, ignore="attentions.")


def osnet_x1_0(attention: AttentionFactory, *, last_stride: int = 1) -> OSNet:
    """2.2 M parameters, 0.98 GFLOPs at 256x128.

    Raises:
        ValueError: a last stride other than 1. OSNet never downsamples after conv3, on ImageNet
            neither.
    """
    if last_stride != 1:
        raise ValueError(
            f"last_stride must be 1, not {last_stride!r}: OSNet does not downsample after conv3"
        )
    return OSNet(attention)
