"""Means, time and speed of an epoch, also of one that was resumed."""

import pytest
import torch

from reid_dcs.engine.progress import Done, Progress


def test_a_resumed_epoch_counts_from_its_beginning():
    first = Progress(0, 1, 4)
    first.add({"loss": torch.tensor(1.0)}, torch.zeros(8, 3))
    first.read()
    before = first.so_far()
    assert (before.batches, before.sums, before.images) == (1, {"loss": 1.0}, 8)
    resumed = Progress(0, 1, 4, Done(before.batches, before.sums, 1000.0, before.images))
    for value in (2.0, 3.0, 4.0):
        resumed.add({"loss": torch.tensor(value)}, torch.zeros(8, 3))
    resumed.read()
    summary = resumed.summary()
    assert summary["loss"] == 2.5
    assert summary["seconds"] == pytest.approx(1000, abs=10)
    assert summary["images_s"] == pytest.approx(32 / 1000, rel=0.01)
