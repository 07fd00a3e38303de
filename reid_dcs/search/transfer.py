"""What a training takes over from a search: its windows, and its weights where they are kept."""

import torch.nn.functional as F
from torch import Tensor, nn

from reid_dcs.attention import GSA
from reid_dcs.search.parameters import search_parameters

FROZEN_LOGIT = 1e4  # large enough that Gumbel noise never changes the argmax


def load_search_result(model: nn.Module, found: dict[str, Tensor], retrain: str) -> None:
    """Begin a training with what a search has found.

    Args:
        model: fresh.
        found: the state of the searched network.
        retrain: ``rebuild`` takes the windows alone, into fresh weights, and holds them still;
            ``warm_frozen`` takes the weights too; ``warm_joint`` trains the windows along.
            ``auto`` rebuilds where windows are a layer's own; those of positions come from
            features, and mean nothing to other ones, so that it is ``warm_frozen`` there.
    """
    _, windows, logits = search_parameters(model)
    searched = {id(parameter) for parameter in windows + logits}
    if retrain == "auto":
        own = all(parameter.ndim == 1 for parameter in windows)
        retrain = "rebuild" if own else "warm_frozen"
    if retrain == "rebuild":
        names = [name for name, own in model.named_parameters() if id(own) in searched]
        found = {name: found[name] for name in names}
    model.load_state_dict(found, strict=retrain != "rebuild")
    if retrain == "warm_joint":
        return
    for parameter in windows + logits:
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, GSA):  # in training it draws: from now on always the same
            likeliest = F.one_hot(module.logits.argmax(), len(module.logits))
            module.logits.copy_(FROZEN_LOGIT * likeliest)
