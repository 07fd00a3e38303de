"""ResNet50 for re-identification: last stride 1, attention after its four stages."""

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from reid_dcs.models.pretrained import Donor
from reid_dcs.models.registry import AttentionFactory, register_backbone
from reid_dcs.weights import load_exactly

LAYERS = [3, 4, 6, 3]  # bottlenecks a stage


def _trunk_of_torchvision() -> ResNet:
    network = ResNet(Bottleneck, LAYERS)
    del network.fc
    return network


class ResNet50(ResNet):
    """torchvision's ResNet50 without its classifier, under torchvision's names.

    Args:
        attention: channels -> the block put after a stage.
    """

    out_channels = 2048
    donor = Donor.torchvision(
        ResNet50_Weights.IMAGENET1K_V1, _trunk_of_torchvision, classifier="fc."
    )

    def __init__(self, attention: AttentionFactory) -> None:
        super().__init__(Bottleneck, LAYERS)
        del self.avgpool, self.fc
        first = self.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (1, 1)
        self.attentions = nn.ModuleList(attention(c) for c in (256, 512, 1024, 2048))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048, H/16, W/16)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (B, 64, H/4, W/4)
        stages = self.layer1, self.layer2, self.layer3, self.layer4
        for stage, attention in zip(stages, self.attentions, strict=True):
            x = attention(stage(x))
        return x

    def inherit(self, given: ResNet) -> None:
        """Take the weights of the donor's trunk."""
        load_exactly(self, given.state_dict(), self.donor.title, but="attentions.")


@register_backbone
def resnet50(attention: AttentionFactory) -> ResNet50:
    """23.5 M parameters, 4.1 GFLOPs at 256x128."""
    return ResNet50(attention)
