"""The tables as data."""

import math

import pytest

from reid_dcs.models.space import SPACES, Row, Space, options


def test_options_of_a_range_include_both_ends():
    assert options((0.75, 3.25, 0.5)) == (0.75, 1.25, 1.75, 2.25, 2.75, 3.25)
    assert options((0.75, 4.5, 0.75)) == (0.75, 1.5, 2.25, 3.0, 3.75, 4.5)
    assert options((112, 216, 8)) == tuple(range(112, 217, 8))
    assert options(1) == (1,)


@pytest.mark.parametrize(
    ("name", "blocks", "magnitude"),
    [("fbnetv2", 18, 28), ("fbnetv2_large", 44, 69), ("fbnetv2_xlarge", 86, 158)],
)
def test_the_spaces_are_as_large_as_their_tables_say(name, blocks, magnitude):
    space = SPACES[name]
    assert len(space.blocks) == blocks
    assert [block.stride for block in space.blocks].count(2) == 4
    assert len(space.stages) == 4
    assert round(math.log10(space.subgraphs)) == magnitude


def test_subgraphs_are_counted():
    rows = (Row(1, (12, 16, 4), 1, 1), Row((1, 2, 0.5), (8, 12, 4), 2, 2, True))
    assert Space("small", rows).subgraphs == 2 * (3 * 2) ** 2


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_hidden_channels_are_whole_for_every_pair_of_options(space):
    inputs = (space.stem,)
    for block in space.blocks:
        assert all((e * w) % 1 == 0 for e in block.expansions for w in inputs)
        inputs = block.widths
