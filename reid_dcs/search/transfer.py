"""Transfer of a search result to the training: windows, and optionally weights."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention.block import SharedWindowAttention, named_blocks
from reid_dcs.search.parameters import search_parameters

FROZEN_LOGIT = 1e4  # large enough that Gumbel noise never changes the argmax


def training_weights(model: nn.Module, retrain: str) -> str:
    """The setting ``search.retrain``, with the meaning of ``auto`` for a network.

    ``auto`` is ``rebuild`` if all windows are shared by all positions, or there are none, else
    ``warm_frozen``: windows that are computed from features mean nothing to other features.
    """
    if retrain != "auto":
        return retrain
    shared = all(isinstance(b, SharedWindowAttention) for b in named_blocks(model).values())
    return "rebuild" if shared else "warm_frozen"


@torch.no_grad()
def load_search_result(model: nn.Module, found: dict[str, Tensor], retrain: str) -> None:
    """Initialize a network from the result of a search.

    Args:
        model: newly built network.
        found: state dict of the searched network.
        retrain: ``rebuild`` loads only the windows and freezes them; ``warm_frozen`` also loads the
            weights; ``warm_joint`` also trains the windows; ``auto``: :func:`training_weights`.
    """
    _, windows, logits = search_parameters(model)
    searched = {id(parameter) for parameter in windows + logits}
    retrain = training_weights(model, retrain)
    if retrain == "rebuild":
        names = [name for name, parameter in model.named_parameters() if id(parameter) in searched]
        found = {name: found[name] for name in names}
    model.load_state_dict(found, strict=retrain != "rebuild")
    if retrain == "warm_joint":
        return
    for parameter in windows + logits:
        parameter.requires_grad_(False)
    for parameter in logits:  # training draws from a Gumbel softmax: always the same option now
        parameter.copy_(FROZEN_LOGIT * F.one_hot(parameter.argmax(), len(parameter)))
