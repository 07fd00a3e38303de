"""Expected multiply-adds against complexity, subgraph by subgraph."""

import itertools
import math

import pytest
import torch
from helpers.small_supergraph import KINDS, SMALL, make_certain, random_supergraph

from reid_dcs.models.architecture import Architecture
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.complexity import complexity
from reid_dcs.models.registry import attention_factory
from reid_dcs.models.space import Row, Space
from reid_dcs.search import (
    ReIDSupergraph,
    build_supergraph,
    derive,
    expected_macs,
    search_parameters,
    target_penalty,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(3, 64, 32), (3, 197, 71)])
def test_a_certain_subgraph_costs_what_complexity_counts(kind, size):
    for seed in range(2):
        network = random_supergraph(kind, seed)
        make_certain(network)
        assert expected_macs(network, size).item() == complexity(derive(network), size).total_macs


@pytest.mark.parametrize(
    ("kind", "options"),
    [("sa", {"ratio": 0.3}), ("dcs", {"windows": 3}), ("dcs_sw", {"min_length": 20.0})],
)
def test_options_of_the_attention_are_counted(kind, options):
    network = random_supergraph(kind, **options)
    make_certain(network)
    assert expected_macs(network).item() == complexity(derive(network)).total_macs


@pytest.mark.parametrize(
    "name",
    [
        "fbnetv2_dcs",
        *(pytest.param(f"fbnetv2_{n}_dcs", marks=pytest.mark.slow) for n in ("large", "xlarge")),
    ],
)
def test_subgraphs_of_the_tables_cost_what_complexity_counts(name):
    torch.manual_seed(0)
    network = build_supergraph(name, 2)
    for logits in search_parameters(network).logits:
        torch.nn.init.normal_(logits)
    make_certain(network)
    assert expected_macs(network).item() == complexity(derive(network)).total_macs


ENUMERABLE = Space(
    "enumerable",
    (
        Row(1, (12, 16, 4), 1, 1),
        Row((0.75, 1.25, 0.5), (16, 20, 4), 1, 2, True),
        Row((0.5, 1.5, 1.0), (8, 16, 8), 1, 2, True),
    ),
    last=24,
)


@pytest.mark.parametrize(
    "kind", ["dcs", *(pytest.param(k, marks=pytest.mark.slow) for k in ("base", "sa"))]
)
def test_the_expectation_is_the_sum_over_all_subgraphs(kind):
    """32 networks, each counted, each with the product of its options' probabilities."""
    torch.manual_seed(0)
    network = ReIDSupergraph(ENUMERABLE, kind, 2)
    for logits in search_parameters(network).logits:
        torch.nn.init.normal_(logits)
    choices = []  # (option, probability) of each width and each expansion
    for masks in network.trunk.masks:
        for options, choice in (
            (masks.filters.options, masks.filters.choice),
            (masks.expansions, masks.expansion),
        ):
            choices.append([*zip(options, choice.probabilities().tolist(), strict=True)])
    expected, networks = 0.0, [*itertools.product(*choices)]
    assert len(networks) == ENUMERABLE.subgraphs == 32
    for taken in networks:
        options, chances = zip(*taken, strict=True)
        architecture = Architecture("enumerable", options[::2], options[1::2])
        plain = FBNetV2(attention_factory(kind), ENUMERABLE, architecture)
        expected += math.prod(chances) * complexity(plain, (3, 32, 16)).total_macs
    assert expected_macs(network, (3, 32, 16)).item() == pytest.approx(expected, rel=1e-12)


def test_towards_temperature_zero_it_is_the_cost_of_the_likeliest_subgraph():
    network = random_supergraph("dcs")
    likeliest = complexity(derive(network)).total_macs
    gaps = [abs(expected_macs(network, temperature=t).item() - likeliest) for t in (1, 0.1, 1e-3)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-6 * likeliest


def test_the_gradient_is_that_of_finite_differences():
    network = random_supergraph("dcs").double()
    logits = search_parameters(network).logits
    expected_macs(network).backward()
    for parameter in logits[::5]:
        gradient = parameter.grad.clone()
        for i in range(len(parameter)):
            ends = []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    parameter[i] += step
                    ends.append(expected_macs(network).item())
                    parameter[i] -= step
            assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(gradient[i].item(), rel=1e-5, abs=1)


def test_the_cost_reaches_every_choice():
    network = random_supergraph("dcs")
    expected_macs(network).backward()
    parameters = search_parameters(network)
    assert all(p.grad.count_nonzero() == p.numel() for p in parameters.logits)
    assert all(p.grad is None for p in parameters.weights + parameters.windows)


def test_the_penalty_is_the_relative_distance_to_the_target():
    expected = torch.tensor([0.5e9, 1e9, 2e9], dtype=torch.float64)
    assert target_penalty(expected, 1.0).tolist() == [0.5, 0.0, 1.0]
    with pytest.raises(ValueError, match="target_gmacs.*0"):
        target_penalty(expected, 0)


def test_two_targets_give_two_networks_on_their_sides():
    size, found = (3, 64, 32), []
    low, high = (
        complexity(FBNetV2(attention_factory("dcs"), SMALL, end(SMALL)), size).total_macs
        for end in (Architecture.smallest, Architecture.largest)
    )
    for share in (0.3, 0.7):
        network, target = random_supergraph("dcs"), low + share * (high - low)
        optimizer = torch.optim.Adam(search_parameters(network).logits, 0.1)
        for _ in range(80):
            optimizer.zero_grad()
            target_penalty(expected_macs(network, size), target / 1e9).backward()
            optimizer.step()
        assert expected_macs(network, size).item() == pytest.approx(target, rel=0.05)
        found.append(complexity(derive(network), size).total_macs)
    assert found[0] < (low + high) / 2 < found[1]
