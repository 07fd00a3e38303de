"""ImageNet weights for a trunk: torchvision's official ones or a local file, never silence."""

from pathlib import Path

from torch import Tensor
from torchvision.models import WeightsEnum

from reid_dcs.errors import InputError
from reid_dcs.weights import read_weights


def imagenet_state(
    source: bool | str | Path, official: WeightsEnum, prefix: str
) -> dict[str, Tensor]:
    """The trunk's state dict, with ``prefix`` taken off its names.

    Args:
        source: True downloads ``official`` (cached and hash-checked by torch.hub); otherwise a
            local file, of the whole network or of the trunk alone.
        official: torchvision's entry.
        prefix: what names the trunk in the whole network's state dict.

    Raises:
        InputError: nothing to download or read.
    """
    if source is True:
        try:
            state = official.get_state_dict(progress=True, check_hash=True, weights_only=True)
        except Exception as error:  # no network, a torn cache, another file behind the address
            raise InputError(
                f"ImageNet weights could not be downloaded ({error}): fetch {official.url} on "
                "another machine and set model.pretrained=FILE"
            ) from error
    else:
        state = read_weights(source)["state_dict"]
    trunk = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return trunk or dict(state)
