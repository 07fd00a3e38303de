"""Indices spread evenly over a set."""

import pytest

from reid_dcs.data.spaced import evenly_spaced


@pytest.mark.parametrize(
    ("total", "most", "expected"),
    [(5, 9, [0, 1, 2, 3, 4]), (10, 4, [0, 3, 6, 9]), (7, 1, [0]), (0, 3, [])],
)
def test_items_are_spread_from_the_first_to_the_last(total, most, expected):
    assert evenly_spaced(total, most).tolist() == expected
