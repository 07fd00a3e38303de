"""OSNet x1.0 (Zhou et al., 2019) with attention after conv2, conv3, conv4 and conv5."""

from torch import Tensor, nn
from torchreid import models as torchreid_models

from reid_dcs.models.pretrained import Donor
from reid_dcs.models.registry import AttentionFactory, register_backbone
from reid_dcs.weights import load_exactly
from reid_dcs.zoo import WeightsFile

_osnet = torchreid_models.osnet


def _trunk_of_torchreid() -> nn.Module:
    network = _osnet.osnet_x1_0(num_classes=1, pretrained=False)
    del network.classifier
    return network


class OSNet(_osnet.OSNet):
    """torchreid's OSNet x1.0 without its classifier, under torchreid's names.

    Args:
        attention: channels -> the block put after a stage.
    """

    out_channels = 512
    donor = Donor(
        title="torchreid's ImageNet weights of osnet_x1_0",
        weights=WeightsFile(
            file="osnet_x1_0_imagenet.pth",
            sources=["drive:" + _osnet.pretrained_urls["osnet_x1_0"].partition("id=")[2]],
        ),
        trunk=_trunk_of_torchreid,
    )

    def __init__(self, attention: AttentionFactory) -> None:
        super().__init__(
            num_classes=1,
            blocks=[_osnet.OSBlock] * 3,
            layers=[2, 2, 2],
            channels=[64, 256, 384, 512],
        )
        del self.classifier
        self.attentions = nn.ModuleList(attention(c) for c in (256, 384, 512, 512))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 512, H/16, W/16)."""
        x = self.maxpool(self.conv1(x))  # (B, 64, H/4, W/4)
        stages = self.conv2, self.conv3, self.conv4, self.conv5
        for stage, attention in zip(stages, self.attentions, strict=True):
            x = attention(stage(x))
        return x

    def embed(self, pooled: Tensor) -> Tensor:
        """OSNet's fully connected layer, BN and ReLU: (B, 512) -> (B, 512)."""
        return self.fc(pooled)

    def inherit(self, given: nn.Module) -> None:
        """Take the weights of the donor's trunk, the fully connected layer included."""
        load_exactly(self, given.state_dict(), self.donor.title, but="attentions.")


@register_backbone
def osnet_x1_0(attention: AttentionFactory) -> OSNet:
    """2.2 M parameters, 0.98 GFLOPs at 256x128."""
    return OSNet(attention)
