"""Selection of queries, and the top of their ranked lists."""

import csv

import numpy as np
import pytest
import torch

from reid_dcs.evaluation import (
    FeatureDistances,
    Labels,
    choose_queries,
    rank_gallery,
    ranked_list,
    write_ranked_lists,
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


def test_ranked_lists_are_written_as_a_table(tmp_path):
    random = np.random.default_rng(0)
    labels = Labels(*(random.integers(0, 3, n) for n in (4, 9, 4, 9)))
    distances = FeatureDistances(torch.rand(4, 5), torch.rand(9, 5))
    ranking = rank_gallery(distances, labels)
    queries = [f"q{i}, \udcff.jpg" for i in range(4)]
    gallery = [f'g"{i}".jpg' for i in range(9)]
    lists = [ranked_list(distances, labels, ranking, q, 3) for q in range(4)]
    write_ranked_lists(lists, queries, gallery, tmp_path / "ranks.csv")
    with open(tmp_path / "ranks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = []
    for q in range(4):
        row = distances[q : q + 1][0].tolist()
        same = labels.g_pids == labels.q_pids[q]
        junk = same & (labels.g_camids == labels.q_camids[q])
        order = [i for i in np.argsort(row) if not junk[i]][:3]
        expected += [
            (f"q{q}, \\udcff.jpg", rank, gallery[i], row[i], int(same[i]))
            for rank, i in enumerate(order, 1)
        ]
    found = [
        (r["query"], int(r["rank"]), r["gallery"], float(r["distance"]), int(r["match"]))
        for r in rows
    ]
    assert found == expected
