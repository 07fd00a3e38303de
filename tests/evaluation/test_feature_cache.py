"""Kept features: whole and of the same making, or not read."""

import pickle

import numpy as np
import pytest
import torch

from reid_dcs.evaluation import Features
from reid_dcs.evaluation.feature_cache import features_fingerprint, keep_features, read_features


@pytest.fixture
def features():
    return Features(torch.randn(5, 7), np.arange(5), np.arange(5) % 2)


@pytest.fixture
def kept(features, tmp_path):
    path = tmp_path / "features-market1501-query.npz"
    keep_features(path, features, [f"{i}\udcff.jpg" for i in range(5)], "print")
    return path


def test_they_come_back(features, kept):
    again = read_features(kept, "print")
    assert torch.equal(again.vectors, features.vectors)
    np.testing.assert_array_equal(again.pids, features.pids)
    np.testing.assert_array_equal(again.camids, features.camids)
    assert read_features(kept).pids.tolist() == features.pids.tolist()
    with np.load(kept, allow_pickle=False) as archive:
        assert archive["names"][4] == "4\udcff.jpg"
    assert read_features(kept, "another print") is None
    assert read_features(kept.with_name("absent.npz"), "print") is None


def test_cut_or_altered_files_are_not_read(kept):
    whole = kept.read_bytes()
    for length in range(0, len(whole), 37):
        kept.write_bytes(whole[:length])
        assert read_features(kept, "print") is None
    for place in range(100, len(whole) - 100, 53):  # a bit in headers, names or numbers
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        again = read_features(kept, "print")
        if again is not None:  # in the padding that nothing is read from
            kept.write_bytes(whole)
            assert torch.equal(again.vectors, read_features(kept, "print").vectors)


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps({"fingerprint": "print"})])
def test_other_files_are_not_read(kept, content):
    kept.write_bytes(content)
    assert read_features(kept) is None


def test_pickled_objects_are_not_read(kept):
    np.savez(kept, vectors=np.array([{}], dtype=object), fingerprint=np.array("print"))
    assert read_features(kept, "print") is None


def test_the_fingerprint_is_of_weights_and_making(tmp_path):
    weights = tmp_path / "a.pt"
    weights.write_bytes(b"weights")
    first = features_fingerprint(weights, images="x", flip=False)
    assert first == features_fingerprint(weights, flip=False, images="x")
    assert first != features_fingerprint(weights, images="y", flip=False)
    assert first != features_fingerprint(weights, images="x", flip=True)
    copy = tmp_path / "b.pt"
    copy.write_bytes(b"weights")
    assert first == features_fingerprint(copy, images="x", flip=False)
    copy.write_bytes(b"weighty")
    assert first != features_fingerprint(copy, images="x", flip=False)
