"""Base class of the backbones: images to feature maps, for any task."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor, nn

from reid_dcs.models.pretrained import Donor

AttentionFactory = Callable[[int], nn.Module]
"""From the channels of a feature map to the block inserted after it."""


class Backbone(nn.Module):
    """Stem, stages with attention after four of them, and in some networks a last convolution.

    A subclass sets ``attentions``, ``out_channels``, ``stage_channels`` and ``stage_strides``,
    and implements :meth:`forward_stages` and :meth:`stage_modules`. With ImageNet weights to start
    from, it sets ``donor`` and implements :meth:`inherit`.

    Attributes:
        attentions: one module for each stage; the identity where a stage has no attention.
        out_channels: channels of the map that :meth:`forward` returns.
        stage_channels: channels of each map that :meth:`forward_stages` returns.
        stage_strides: input size divided by map size, for each of these maps.
        after_stages: names of the modules that :meth:`forward_stages` does not run.
        dropout: rate that the published network has before its ImageNet classifier.
        donor: network that provides the ImageNet weights; None if there are no official ones.
    """

    attentions: nn.ModuleList
    out_channels: int
    stage_channels: list[int]
    stage_strides: list[int]
    after_stages: tuple[str, ...] = ()
    dropout: float = 0.0
    donor: Donor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_channels, h, w)."""
        return self.forward_stages(x)[-1]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Maps for a feature pyramid: the outputs of the attended stages, finest first.

        Returns:
            (B, C, h, w) for each C of ``stage_channels``; h and w are H and W divided by the
            stage's stride, rounded as its layers do.
        """
        raise NotImplementedError

    def stage_modules(self) -> list[list[nn.Module]]:
        """Modules that compute each of these maps from the one before, without the attention."""
        raise NotImplementedError

    def run_stages(self, x: Tensor, stages: Iterable[nn.Module]) -> list[Tensor]:
        """Apply the stages in order, each followed by its attention; return every output."""
        outputs = []
        for stage, attention in zip(stages, self.attentions, strict=True):
            x = attention(stage(x))
            outputs.append(x)
        return outputs

    def embed(self, pooled: Tensor) -> Tensor:
        """Layers between global pooling and a head, (B, out_channels) -> (B, out_channels).

        The identity, except in a network published with such layers (OSNet).
        """
        return pooled

    def inherit(self, donor: nn.Module) -> None:
        """Copy the weights of the donor's backbone, as :meth:`Donor.load` returns it."""
        raise NotImplementedError

    def load_pretrained(self, source: bool | str | Path) -> dict[str, Tensor]:
        """Start from ImageNet weights.

        Args:
            source: True for the official weights, or a file; see :meth:`Donor.load`.

        Returns:
            state dict of the file's linear classifier; empty if the file has none.

        Raises:
            ValueError: there are no official weights of this network.
            InputError: nothing to download or read, or weights of another architecture.
        """
        if self.donor is None:
            raise ValueError(
                "there are no official ImageNet weights of this backbone; "
                "train it from scratch with model.pretrained=false"
            )
        donor, classifier = self.donor.load(source)
        self.inherit(donor)
        return classifier


def check_last_stride(last_stride: int) -> None:
    """Refuse a stride of the last stage other than 1 (re-identification) and 2 (classification).

    Raises:
        ValueError: any other value.
    """
    if type(last_stride) is not int or last_stride not in (1, 2):
        raise ValueError(f"last_stride must be 1 or 2, not {last_stride!r}")
