"""The head of a ranked list."""

import numpy as np
import torch

from reid_dcs.evaluation import FeatureDistances, Labels, rank_gallery, ranked_list


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
