"""What a training takes over from a search."""

import pytest
import torch

from reid_dcs import build_model
from reid_dcs.search import search_parameters
from reid_dcs.search.transfer import load_search_result


def searched(kind):
    """A network's state after a search: windows and weights away from where they began."""
    torch.manual_seed(1)
    model = build_model(f"mobilenetv2_{kind}", 5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.state_dict()


def fresh(kind):
    torch.manual_seed(2)
    return build_model(f"mobilenetv2_{kind}", 5)


@pytest.mark.parametrize(
    "kind, retrain, weights_come, windows_free",
    [
        ("dcs_sw", "auto", False, False),
        ("dcs_sw", "warm_frozen", True, False),
        ("dcs", "auto", True, False),
        ("dcs", "rebuild", False, False),
        ("dcs", "warm_joint", True, True),
        ("dcs_pos", "auto", True, False),
        ("gsa", "auto", False, False),
    ],
)
def test_what_a_training_takes_from_a_search(kind, retrain, weights_come, windows_free):
    found, model, untouched = searched(kind), fresh(kind), fresh(kind).state_dict()
    load_search_result(model, found, retrain)
    weights, windows, logits = search_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    for parameter in weights:
        source = found if weights_come else untouched
        assert torch.equal(parameter, source[names[id(parameter)]])
        assert parameter.requires_grad == (names[id(parameter)] != "neck.bias")
    for parameter in windows + logits:
        assert parameter.requires_grad == windows_free
    for parameter in windows:
        assert torch.equal(parameter, found[names[id(parameter)]])


def test_a_gumbel_choice_is_made_for_good():
    found, model = searched("gsa"), fresh("gsa")
    load_search_result(model, found, "auto")
    for name, block in model.named_modules():
        if hasattr(block, "logits"):
            assert block.logits.argmax() == found[f"{name}.logits"].argmax()
            tokens = torch.randn(2, 12, block.channels)
            windows = block.windows(tokens)
            drawn = [block.train().attend(tokens, windows) for _ in range(3)]
            for one in drawn:
                torch.testing.assert_close(one, block.eval().attend(tokens, windows))
