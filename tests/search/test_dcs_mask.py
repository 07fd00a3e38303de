"""A search of masks: what it shares with one of windows, and what it refuses."""

import pytest
import torch
from torch import nn

from reid_dcs import InputError, build_model
from reid_dcs.attention import build_attention
from reid_dcs.config import SearchRun, compose
from reid_dcs.search import Alternation, describe_windows, pruned, search_parameters
from reid_dcs.search.parameters import set_temperature
from reid_dcs.search.share import ShareMeter
from reid_dcs.search.transfer import load_search_result, training_weights

CHANNELS = 16


def network(**options) -> nn.Sequential:
    """One block in which channels 3, 4 and 9 are never selected."""
    torch.manual_seed(0)
    block = build_attention("dcs_mask", CHANNELS, zero_init=False, **options)
    with torch.no_grad():
        block.select.bias[[3, 4, 9]] = -100
    return nn.Sequential(block).eval()


BATCHES = list(torch.randn(6, CHANNELS, 6, 5, generator=torch.Generator().manual_seed(0)).split(4))


@pytest.mark.parametrize("normalization", ["positions", "softmax"])
def test_a_pruned_network_gives_the_same(normalization):
    model = network(normalization=normalization)
    smaller = pruned(model, BATCHES)
    assert smaller[0].kept.tolist() == [c for c in range(CHANNELS) if c not in (3, 4, 9)]
    for batch in BATCHES:
        torch.testing.assert_close(smaller(batch), model(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalization", ["positions", "softmax"])
def test_a_block_that_selects_nothing_is_pruned_to_nothing(normalization):
    model = network(normalization=normalization)
    nn.init.constant_(model[0].select.bias, -100)
    smaller = pruned(model, BATCHES)
    assert smaller[0].kept == slice(0, 0)
    torch.testing.assert_close(smaller(BATCHES[0]), model(BATCHES[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalization", ["positions", "softmax"])
def test_its_description_has_no_start_and_no_length(normalization):
    model = network(normalization=normalization)
    found = describe_windows(model, BATCHES)["0"]
    assert "start" not in found and "length" not in found and found["variance"] == {}
    assert found["saturated"].keys() == {"selected"}
    shares = [model[0].reads(batch).float().mean(-1).flatten() for batch in BATCHES]
    assert found["selected"]["mean"] == pytest.approx(torch.cat(shares).mean().item())
    assert found["read"] == [[0, 3], [5, 9], [10, 16]]
    products = {"positions": 2 * 30 * 16 * 16, "softmax": 30 * 30 * (16 + 16)}
    assert found["macs"] == products[normalization]


def test_a_target_share_moves_the_linear_layer_alone():
    model = network().train()
    meter = ShareMeter(model)
    optimizer = torch.optim.SGD(model[0].select.parameters(), lr=5.0)
    for _ in range(100):
        model(BATCHES[0])
        torch.testing.assert_close(meter.shares["0"], model[0].expected_share(BATCHES[0]).mean())
        penalty = meter.penalty(0.25)
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
    assert penalty < 0.1
    assert model[0].project.weight.grad is None
    assert model[0].reads(BATCHES[0]).float().mean() < 0.4


@pytest.mark.parametrize(
    "setting",
    [{"window_softness": 0.125}, {"window_unit": "block"}, {"window_steps": "separate"}],
)
def test_settings_of_windows_are_refused(setting):
    search = compose(SearchRun, {"search": setting}).search
    (name,) = setting
    with pytest.raises(InputError, match=f"search.{name}: dcs_mask has no windows.*; set it to"):
        Alternation(network(), search, 10)


def test_windows_and_weights_take_turns_and_the_temperature_falls():
    search = compose(SearchRun, {"search": {"target_share": 0.5}}).search
    model = network()
    policy = Alternation(model, search, 10)
    assert list(policy.optimizers) == ["weights", "windows"]
    policy.begin_epoch(3)
    assert model[0].temperature == pytest.approx(5 * 0.956**3)
    set_temperature(model, 0.5)
    assert model[0].temperature == 0.5


def test_the_training_after_it_keeps_the_weights_and_freezes_the_masks():
    found = build_model("mobilenetv2_dcs_mask", 5).state_dict()
    model = build_model("mobilenetv2_dcs_mask", 5)
    assert training_weights(model, "auto") == "warm_frozen"
    load_search_result(model, found, "auto")
    assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())
    weights, windows, _ = search_parameters(model)
    assert not any(parameter.requires_grad for parameter in windows)
    assert all(parameter.requires_grad for parameter in weights if parameter.shape != (1280,))
