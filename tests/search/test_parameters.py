"""Weights, windows and logits: every parameter once, and in the right list."""

import pytest
from helpers.small_supergraph import KINDS, SMALL

import reid_dcs
from reid_dcs.search import ReIDSupergraph, search_parameters

WINDOWS = {
    "base": set(),
    "sa": set(),
    "dcs": {"select.weight", "select.bias"},
    "dcs_pos": {"select.weight", "select.bias"},
    "dcs_dim": {"select.weight", "select.bias"},
    "dcs_sw": {"start_logit", "length_logit"},
    "gsa": set(),
    "dcs_mask": {"select.weight", "select.bias"},
}


def names_of(network, parameters) -> list[str]:
    names = {id(p): name for name, p in network.named_parameters()}
    return [names[id(p)] for p in parameters]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("searched", [True, False], ids=["supergraph", "fixed backbone"])
def test_every_parameter_is_in_one_list(kind, searched):
    if searched:
        network = ReIDSupergraph(SMALL, kind, 2)
    else:
        network = reid_dcs.build_model(f"mobilenetv2_{kind}", 2)
    weights, windows, logits = (names_of(network, p) for p in search_parameters(network))
    assert sorted(weights + windows + logits) == sorted(n for n, _ in network.named_parameters())
    blocks = [0, 1, 2] if searched else [1, 2, 4, 6]
    assert set(windows) == {f"trunk.attentions.{i}.{n}" for i in blocks for n in WINDOWS[kind]}
    of_masks = [name for name in logits if name.startswith("trunk.masks.")]
    assert len(of_masks) == (2 * 9 - 1 if searched else 0)
    gumbel = {f"trunk.attentions.{i}.logits" for i in blocks} if kind == "gsa" else set()
    assert set(logits) - set(of_masks) == gumbel
