"""Feature cache: only whole archives with the right fingerprint are read."""

import pickle

import numpy as np
import pytest
import torch

from reid_dcs import InputError, build_model, runs
from reid_dcs.evaluation import Features
from reid_dcs.evaluation.feature_cache import features_fingerprint, read_features, write_features
from reid_dcs.weights import ModelCard, Preprocessing


@pytest.fixture
def features():
    return Features(torch.randn(5, 7), np.arange(5), np.arange(5) % 2)


@pytest.fixture
def cached(features, tmp_path):
    path = tmp_path / "features-market1501-query.npz"
    write_features(path, features, [f"{i}\udcff.jpg" for i in range(5)], "fingerprint")
    return path


def test_a_round_trip(features, cached):
    again = read_features(cached, "fingerprint")
    assert torch.equal(again.vectors, features.vectors)
    np.testing.assert_array_equal(again.pids, features.pids)
    np.testing.assert_array_equal(again.camids, features.camids)
    assert read_features(cached).pids.tolist() == features.pids.tolist()
    with np.load(cached, allow_pickle=False) as archive:
        assert archive["names"][4] == "4\udcff.jpg"
    assert read_features(cached, "another fingerprint") is None
    assert read_features(cached.with_name("absent.npz"), "fingerprint") is None


def test_cut_or_altered_files_are_not_read(cached):
    whole = cached.read_bytes()
    for length in range(0, len(whole), 37):
        cached.write_bytes(whole[:length])
        assert read_features(cached, "fingerprint") is None
    for place in range(100, len(whole) - 100, 53):  # flip a bit in headers, names or values
        cached.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        again = read_features(cached, "fingerprint")
        if again is not None:  # the bit was in unused padding
            cached.write_bytes(whole)
            assert torch.equal(again.vectors, read_features(cached, "fingerprint").vectors)


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps({"vectors": []})])
def test_other_files_are_not_read(cached, content):
    cached.write_bytes(content)
    assert read_features(cached) is None


def test_pickled_objects_are_not_read(cached):
    np.savez(cached, vectors=np.array([{}], dtype=object), fingerprint=np.array("fingerprint"))
    assert read_features(cached, "fingerprint") is None


def test_the_fingerprint_covers_weights_and_settings(tmp_path):
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


def test_features_beside_the_weights_are_in_the_way_of_no_evaluation_there(tiny_root, tmp_path):
    """The user's own file of that name is."""
    card = ModelCard("mobilenetv2_base", num_classes=5, preprocessing=Preprocessing(32, 16))
    network = build_model("mobilenetv2_base", 5, pretrained=False)
    torch.save(card.to_dict() | {"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    settings = {
        "eval": {"weights": str(tmp_path / "weights.pt")},
        "data": {"root": str(tiny_root)},
        "device": "cpu",
    }
    runs.evaluate(settings)
    there = settings | {"output_dir": str(tmp_path)}
    runs.evaluate(there)
    assert (tmp_path / "metrics.json").exists()
    own = tmp_path / "own"
    own.mkdir()
    (own / "features-synthetic-query.npz").write_text("mine")
    with pytest.raises(InputError, match="holds features-synthetic-query.npz, which no run"):
        runs.evaluate(settings | {"output_dir": str(own)})
