"""Initial weights of a detector: of another detector, or of a network with the same backbone."""

from torch import Tensor

from reid_dcs.errors import InputError
from reid_dcs.models.initial import InitialWeights
from reid_dcs.tasks.detection.network import CascadeMaskRCNN
from reid_dcs.weights import load_exactly

TRUNK, ATTENTION = "backbone.trunk.", "backbone.trunk.attentions."
"""Prefixes of the weights of a detector's backbone; in those of other networks it is ``trunk.``."""
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
    current = detector.state_dict()
    whole = any(key.startswith(TRUNK) for key in weights.state)
    state = dict(weights.state) if whole else _of_trunk(detector, weights)
    has_attention = any(key.startswith(ATTENTION) for key in state)
    new_classes = [
        key
        for key, value in state.items()
        if any(layer in key for layer in CLASS_LAYERS)
        and key in current
        and current[key].shape != value.shape
    ]

    def stays_as_built(key: str) -> bool:
        if key.startswith(ATTENTION):
            return not has_attention
        return key in new_classes or (not whole and not key.startswith(TRUNK))

    kept = {key: value for key, value in current.items() if stays_as_built(key)}
    load_exactly(detector, state | kept, weights.source)
    new_attention = any(key.startswith(ATTENTION) for key in kept)
    parts = [
        weights.source if whole else f"trunk of {weights.source}",
        *["new attention"] * new_attention,
        *["new class layers"] * bool(new_classes),
    ]
    return f"initial weights: {'; '.join(parts)}"


def _of_trunk(detector: CascadeMaskRCNN, weights: InitialWeights) -> dict[str, Tensor]:
    """The weights of a network's backbone, with the names that they have in a detector."""
    unused = tuple(f"trunk.{name}." for name in detector.backbone.trunk.after_stages)
    found = {
        f"backbone.{key}": value
        for key, value in weights.state.items()
        if key.startswith("trunk.") and not key.startswith(unused)
    }
    if not found:
        raise InputError(
            f"{weights.source}: neither weights of a detector nor of a network of this package, "
            "whose backbone is under trunk."
        )
    return found
