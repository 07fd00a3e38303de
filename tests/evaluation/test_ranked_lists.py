"""Selection of queries, and the top of their ranked lists."""

import numpy as np
import pytest
import torch

from reid_dcs.evaluation import (
    FeatureDistances,
    Labels,
    choose_queries,
    rank_gallery,
    ranked_list,
)


def test_nearest_first_without_junk():
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    gf = torch.stack([angles.cos(), angles.sin()], 1)
    distances = FeatureDistances(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), gf)
    labels = Labels([3, 3], [3, 9, 3, 8, 3], [0, 0], [0, 0, 1, 0, 1])
    ranking = rank_gallery(distances, labels)
    found = ranked_list(distances, labels, ranking, 1, 3)
    assert found.query == 1 and found.gallery.tolist() == [1, 2, 3]  # image 0 is junk
    assert found.matches.tolist() == [False, True, False]
    np.testing.assert_allclose(found.distances, 1 - angles[1:4].cos().numpy(), atol=1e-6)
    assert found.average_precision == ranking.average_precision[1] == (1 / 2 + 2 / 4) / 2
    assert len(ranked_list(distances, labels, ranking, 0, 50).gallery) == 4


PRECISION = np.array([0.5, np.nan, 0.1, 1.0, 0.5, 1.0])


@pytest.mark.parametrize(
    "which, number, chosen",
    [
        ("worst", 3, [2, 0, 4]),
        ("best", 3, [3, 5, 0]),
        ("worst", 9, [2, 0, 4, 3, 5]),
        ("random", 9, [0, 2, 3, 4, 5]),
    ],
)
def test_queries_are_chosen_by_average_precision_then_number(which, number, chosen):
    assert choose_queries(PRECISION, which, number).tolist() == chosen


def test_a_seed_draws_the_same_queries():
    precision = np.linspace(0, 1, 50)
    first, again, other = (choose_queries(precision, "random", 8, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() == sorted(set(first)) != other.tolist()


def test_an_unknown_selection_is_refused():
    with pytest.raises(ValueError, match="worst, best or random, not 'median'"):
        choose_queries(PRECISION, "median", 3)
