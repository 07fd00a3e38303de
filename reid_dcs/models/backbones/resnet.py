"""ResNet50 with attention after each of its four stages."""

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from reid_dcs.models.backbones.base import AttentionFactory, Backbone, check_last_stride
from reid_dcs.models.pretrained import Donor
from reid_dcs.weights import load_exactly

LAYERS = [3, 4, 6, 3]  # bottlenecks of each stage


def _torchvision_backbone() -> ResNet:
    network = ResNet(Bottleneck, LAYERS)
    del network.fc
    return network


class ResNet50(Backbone, ResNet):
    """torchvision's ResNet50 without its classifier, with the same parameter names.

    Args:
        attention: channels -> the block inserted after a stage.
        last_stride: of the last stage; 2 is torchvision's, 1 is usual in re-identification.

    Raises:
        ValueError: a last stride other than 1 and 2.
    """

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    relu: nn.ReLU
    maxpool: nn.MaxPool2d
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    out_channels = 2048
    donor = Donor.torchvision(
        ResNet50_Weights.IMAGENET1K_V1, _torchvision_backbone, classifier="fc."
    )

    def __init__(self, attention: AttentionFactory, last_stride: int = 1) -> None:
        check_last_stride(last_stride)
        super().__init__(Bottleneck, LAYERS)
        del self.avgpool, self.fc
        first: Bottleneck = self.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (last_stride, last_stride)
        self.stage_channels = [256, 512, 1024, 2048]
        self.stage_strides = [4, 8, 16, 16 * last_stride]
        self.attentions = nn.ModuleList(map(attention, self.stage_channels))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of layer1 to layer4, (B, 256..2048, H/4.., W/4..)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (B, 64, H/4, W/4)
        return self.run_stages(x, (self.layer1, self.layer2, self.layer3, self.layer4))

    def stage_modules(self) -> list[list[nn.Module]]:
        """The stem and layer1, then layer2 to layer4."""
        return [[self.conv1, self.bn1, self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def inherit(self, donor: ResNet) -> None:
        """Copy the weights of torchvision's backbone."""
        load_exactly(self, donor.state_dict(), self.donor.title, ignore="attentions.")


def resnet50(attention: AttentionFactory, *, last_stride: int = 1) -> ResNet50:
    """23.5 M parameters, 4.1 GFLOPs at 256x128."""
    return ResNet50(attention, last_stride)
