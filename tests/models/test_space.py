"""Search spaces: options and strides of Tables 5 and 6."""

import itertools
import math
import runpy

import pytest
from helpers.paths import REPOSITORY
from torch import nn

from reid_dcs.models.architecture import Architecture
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.complexity import complexity
from reid_dcs.models.space import SPACES, Row, Space, options

SMALL = Space(
    "small",
    (Row(1, (12, 16, 4), 1, 1), Row((1, 2, 1), (8, 16, 4), 2, 2, True)),
    last=24,
)


def test_options_of_a_range_include_both_ends():
    assert options((0.75, 3.25, 0.5)) == (0.75, 1.25, 1.75, 2.25, 2.75, 3.25)
    assert options((0.75, 4.5, 0.75)) == (0.75, 1.5, 2.25, 3.0, 3.75, 4.5)
    assert options((112, 216, 8)) == tuple(range(112, 217, 8))
    assert options(1) == (1,)


@pytest.mark.parametrize(
    ("name", "blocks", "magnitude"),
    [("fbnetv2", 18, 28), ("fbnetv2_large", 44, 69), ("fbnetv2_xlarge", 86, 158)],
)
def test_the_spaces_have_the_size_that_the_paper_states(name, blocks, magnitude):
    space = SPACES[name]
    assert len(space.blocks) == blocks
    assert [block.stride for block in space.blocks].count(2) == 4
    assert len(space.stages) == 4
    assert round(math.log10(space.subgraphs)) == magnitude


def test_subgraphs_are_counted():
    assert SMALL.subgraphs == 2 * (2 * 3) ** 2


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_hidden_channels_are_whole_for_every_pair_of_options(space):
    inputs = (space.stem,)
    for block in space.blocks:
        assert all((e * w) % 1 == 0 for e in block.expansions for w in inputs)
        inputs = block.widths


@pytest.mark.slow
def test_the_bound_on_parameters_holds_and_is_tight():
    """most_params of benchmarks/studies/spaces.py, against all networks of a small space."""
    bound = runpy.run_path(str(REPOSITORY / "benchmarks/studies/spaces.py"))["most_params"]
    pairs = [[*itertools.product(block.widths, block.expansions)] for block in SMALL.blocks]
    networks = []
    for chosen in itertools.product(*pairs):
        architecture = Architecture("small", *zip(*chosen, strict=True))
        trunk = FBNetV2(lambda channels: nn.Identity(), SMALL, architecture)
        networks.append(complexity(trunk, (3, 384, 128))[:2])
    assert bound(SMALL) == max(params for params, _ in networks)
    for _, budget in networks[::10]:
        most = max(params for params, macs in networks if macs <= budget)
        assert (1 - 1e-9) * most <= bound(SMALL, budget) < 1.2 * most
