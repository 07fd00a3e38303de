"""ImageNet weights for a trunk: official ones or a local file, whole and exact or refused."""

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
    """A network with official ImageNet weights, from which a trunk of ours takes its own.

    A file is kept in torch.hub's cache, under the name that torch.hub gives it. The part of the
    name after a dash is the beginning of its sha256.
    """

    title: str
    """Whose weights they are."""
    weights: WeightsFile
    """Of the whole network."""
    trunk: Callable[[], nn.Module]
    """Builds the donor without its classifier, randomly initialised."""
    prefix: str = ""
    """What names the trunk in the whole network's weights."""
    classifier: str = "classifier."
    """What names the classifier in the whole network's weights."""

    @classmethod
    def torchvision(
        cls, official: WeightsEnum, trunk: Callable[[], nn.Module], **names: str
    ) -> "Donor":
        """A network of torchvision's with official weights."""
        file = Path(official.url).name
        begins = torch.hub.HASH_REGEX.search(file)[1]
        weights = WeightsFile(file=file, sources=[official.url], sha256=begins)
        return cls(f"torchvision's {official}", weights, trunk, **names)

    def load(self, source: bool | str | Path) -> nn.Module:
        """The donor's trunk with its weights.

        Args:
            source: True for the official file, downloaded unless it is in the cache; or a local
                file or a name of the model zoo, of the whole network or of the trunk alone.

        Raises:
            InputError: nothing to download or read, or the weights of another architecture.
        """
        path = self.fetch() if source is True else find_weights(source)
        state = self._without_classifier(read_weights(path)["state_dict"])
        trunk = self.trunk()
        # old files lack the counters of batches, which evaluation does not read
        counters = {k: v for k, v in trunk.state_dict().items() if "num_batches_tracked" in k}
        load_exactly(trunk, counters | state, path)
        return trunk

    def fetch(self) -> Path:
        """The official file in the cache, downloaded if it is not there, its hash checked.

        Raises:
            InputError: it cannot be had.
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
