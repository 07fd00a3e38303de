"""The softness of edges over a search."""

import pytest
from torch import nn

from reid_dcs.attention import build_attention
from reid_dcs.search.softness import soften, softness_at


def test_softness_falls_exponentially_from_a_share_of_the_channels_to_an_edge_in_a_channel():
    values = [softness_at(t / 4, 320) for t in range(4)]
    assert values[0] == 40
    ratios = [b / a for a, b in zip(values[:-1], values[1:], strict=True)]
    assert ratios == pytest.approx([(0.3 / 40) ** 0.25] * 3)
    assert softness_at(1 - 1e-9, 320) == pytest.approx(0.3)
    assert softness_at(1, 320) == 0


def test_a_narrow_map_does_not_begin_harder_than_it_ends():
    assert softness_at(0, 2) == softness_at(0.5, 2) == 0.3


def test_learned_windows_alone_are_softened():
    network = nn.Sequential(*(build_attention(k, 16) for k in ("dcs", "dcs_sw", "sa", "gsa")))
    soften(network, 0.0, 0.25)
    assert [block.softness for block in network] == [4, 4, 0, 0]
    soften(network, 1.0, 0.25)
    assert [block.softness for block in network] == [0] * 4
    soften(network, 0.5, 0.0)
    assert [block.softness for block in network] == [0] * 4
