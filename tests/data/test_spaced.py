"""Indices spread evenly over a set."""

import pytest
import torch

from reid_dcs.data.spaced import evenly_spaced, spaced_batches


@pytest.mark.parametrize(
    ("total", "most", "expected"),
    [(5, 9, [0, 1, 2, 3, 4]), (10, 4, [0, 3, 6, 9]), (7, 1, [0]), (0, 3, [])],
)
def test_items_are_spread_from_the_first_to_the_last(total, most, expected):
    assert evenly_spaced(total, most).tolist() == expected


@pytest.mark.parametrize(
    ("total", "most", "size", "expected"),
    [
        (10, 9, 4, [3, 3, 3]),
        (10, 10, 16, [10]),
        (9, 9, 1, [3, 2, 2, 2]),  # two or more
        (5, 5, 2, [3, 2]),
        (1, 9, 4, [1]),
    ],
)
def test_batches_are_of_about_equal_size_and_of_two_at_least(total, most, size, expected):
    batches = spaced_batches(total, most, size)
    assert [len(batch) for batch in batches] == expected
    assert torch.equal(torch.cat(batches), evenly_spaced(total, most))
