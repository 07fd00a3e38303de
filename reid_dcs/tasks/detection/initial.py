"""Initial weights of a detector: of another detector, or of a network with the same backbone."""

from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.models.initial import InitialWeights
from reid_dcs.tasks.detection.network import CascadeMaskRCNN
from reid_dcs.weights import load_exactly

TRUNK = "trunk."
"""Prefix of the backbone's weights in files of Re-ID and classification networks."""
CLASS_LAYERS = ("cls_score.", "bbox_pred.", "mask_fcn_logits.")
"""Layers whose size depends on the classes."""


def load_initial_detector(detector: CascadeMaskRCNN, weights: InitialWeights) -> str:
    """Load the weights of a detector, or into its trunk those of a Re-ID or classification network.

    Class layers for another number of classes stay as built, and so does the attention if the file
    has none. Everything else must match.

    Args:
        detector: newly built, also on the device ``meta``, where this only checks the weights.
        weights: result of :func:`reid_dcs.models.initial.read_initial`.

    Returns:
        a line that says what was loaded and what stays as built.

    Raises:
        InputError: weights of another architecture.
    """
    state, current = dict(weights.state), detector.state_dict()
    whole = any(key.startswith("backbone.trunk.") for key in state)
    if not whole:
        state = _of_trunk(detector, state, weights.source)
    kept = {
        key: value
        for key, value in current.items()
        if not whole and key not in state and not key.startswith("backbone.trunk.")
    }
    blocks = "backbone.trunk.attentions."
    new_attention = not any(key.startswith(blocks) for key in state)
    if new_attention:
        kept |= {key: value for key, value in current.items() if key.startswith(blocks)}
    new_classes = [
        key
        for key, value in state.items()
        if any(layer in key for layer in CLASS_LAYERS)
        and key in current
        and current[key].shape != value.shape
    ]
    kept |= {key: current[key] for key in new_classes}
    load_exactly(detector, state | kept, weights.source)
    parts = [weights.source if whole else f"trunk of {weights.source}"]
    if new_attention and any(key.startswith(blocks) for key in current):
        parts.append("new attention")
    if new_classes:
        parts.append("new class layers")
    return f"initial weights: {'; '.join(parts)}"


def _of_trunk(
    detector: CascadeMaskRCNN, state: dict[str, Tensor], source: str
) -> dict[str, Tensor]:
    """The weights of a backbone, with the names that they have in a detector."""
    unused = tuple(f"{TRUNK}{name}." for name in detector.backbone.trunk.after_stages)
    found = {
        f"backbone.{key}": value
        for key, value in state.items()
        if key.startswith(TRUNK) and not key.startswith(unused)
    }
    if not found:
        raise InputError(
            f"{source}: neither weights of a detector nor of a network of this package, whose "
            "backbone is under trunk."
        )
    return found
