"""Feature extraction: order, horizontal flip, half precision."""

import numpy as np
import pytest
import torch
from torch import nn

from reid_dcs.evaluation import extract_features


class Corners(nn.Module):
    """Network that returns two opposite pixels, which a horizontal flip swaps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.scale.weight)

    def forward(self, images):
        assert not self.training
        return self.scale(images[:, 0, 0, [0, -1]])


@pytest.fixture
def batches():
    images = torch.randn(7, 3, 4, 6)
    labels = torch.arange(7), torch.arange(7) % 3
    return [
        {"img": img, "pid": pid, "camid": camid}
        for img, pid, camid in zip(images.split(3), *(v.split(3) for v in labels), strict=True)
    ]


def test_every_image_in_order(batches):
    features = extract_features(Corners().train(), batches)
    images = torch.cat([batch["img"] for batch in batches])
    assert torch.equal(features.vectors, images[:, 0, 0, [0, 5]])
    np.testing.assert_array_equal(features.pids, np.arange(7))
    np.testing.assert_array_equal(features.camids, np.arange(7) % 3)


def test_flip_averages_with_the_flipped_image(batches):
    plain = extract_features(Corners(), batches).vectors
    flipped = extract_features(Corners(), batches, flip=True).vectors
    torch.testing.assert_close(flipped, plain.mean(1, keepdim=True).expand(-1, 2))


def test_half_precision_returns_float32(batches):
    plain = extract_features(Corners(), batches).vectors
    half = extract_features(Corners(), batches, dtype=torch.bfloat16).vectors
    assert half.dtype == torch.float32 and not torch.equal(half, plain)
    torch.testing.assert_close(half, plain, rtol=2**-8, atol=0)
