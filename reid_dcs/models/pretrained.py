"""ImageNet weights for a backbone, official or from a local file, matched exactly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from reid_dcs.errors import InputError
from reid_dcs.weights import load_exactly, read_weights
from reid_dcs.zoo import WeightsFile, download, find_weights


@dataclass(frozen=True)
class Donor:
    """A published network with official ImageNet weights, which a backbone starts from.

    The file is kept in torch.hub's cache, under torch.hub's name for it. The part of the name
    after the dash is the beginning of its SHA-256.
    """

    title: str
    """Name of the weights, for messages."""
    weights: WeightsFile
    """File of the whole network's weights."""
    backbone: Callable[[], nn.Module]
    """Builds the network without its classifier, randomly initialized."""
    prefix: str = ""
    """Prefix of the backbone's parameters in the file."""
    classifier: str = "classifier."
    """Prefix of the classifier's parameters in the file."""

    @classmethod
    def torchvision(
        cls, official: WeightsEnum, backbone: Callable[[], nn.Module], **prefixes: str
    ) -> "Donor":
        """A network of torchvision with official weights."""
        file = Path(official.url).name
        sha256_prefix = Path(file).stem.rpartition("-")[2]
        weights = WeightsFile(file=file, sources=[official.url], sha256=sha256_prefix)
        return cls(f"torchvision's {official}", weights, backbone, **prefixes)

    def load(self, source: bool | str | Path) -> tuple[nn.Module, dict[str, Tensor]]:
        """Build the network without its classifier and load its weights.

        Args:
            source: True for the official file, downloaded unless it is in the cache; or a local
                file or a name of the model zoo, with the weights of the whole network or of the
                backbone alone.

        Returns:
            the network, and the state dict of its linear classifier; empty if the file has none.

        Raises:
            InputError: nothing to download or read, or weights of another architecture.
        """
        path = self.fetch() if source is True else find_weights(str(source))
        whole = read_weights(path)["state_dict"]
        state = self._without_classifier(whole)
        backbone = self.backbone()
        # old files lack the batch counters, which evaluation does not use
        counters = {k: v for k, v in backbone.state_dict().items() if "num_batches_tracked" in k}
        load_exactly(backbone, counters | state, path)
        # MobileNetV2's classifier is a sequence of dropout and the linear layer
        linear = {
            key.rpartition(".")[2]: value
            for key, value in whole.items()
            if key.startswith(self.classifier)
        }
        return backbone, linear

    def fetch(self) -> Path:
        """Path of the official file in the cache, downloaded if missing, its hash verified.

        Raises:
            InputError: it cannot be downloaded.
        """
        try:
            return download(self.title, self.weights, Path(torch.hub.get_dir(), "checkpoints"))
        except InputError as error:
            raise InputError(f"{error}, or set model.pretrained=FILE") from error

    def _without_classifier(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        whole = {
            k.removeprefix(self.prefix): v for k, v in state.items() if k.startswith(self.prefix)
        }
        return {k: v for k, v in (whole or state).items() if not k.startswith(self.classifier)}
