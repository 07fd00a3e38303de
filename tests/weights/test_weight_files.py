"""Weight files: what is read, what is refused, and that nothing is ever run."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from reid_dcs import InputError
from reid_dcs.weights import load_exactly, read_weights


@pytest.fixture
def network():
    return nn.ModuleDict({"trunk": nn.Linear(3, 4), "classifier": nn.Linear(4, 5)})


def test_a_bare_state_dict_and_a_torchreid_checkpoint_are_read(tmp_path, network):
    state = network.state_dict()
    torch.save(state, tmp_path / "bare.pth")
    scalar = np.float32(0.5)  # as torchreid stores its rank-1
    torch.save({"state_dict": state, "epoch": 3, "rank1": scalar}, tmp_path / "torchreid.pth")
    for name in ("bare.pth", "torchreid.pth"):
        read = read_weights(tmp_path / name)["state_dict"]
        assert all(torch.equal(read[key], state[key]) for key in state)


class Code:
    def __reduce__(self):
        return (open, ("trap", "w"))


def test_code_in_a_file_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Code()}, tmp_path / "evil.pth")
    with open(tmp_path / "old.pkl", "wb") as file:
        pickle.dump(Code(), file)
    for name in ("evil.pth", "old.pkl"):
        with pytest.raises(InputError, match="not a file of weights"):
            read_weights(name)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "torn.pth").write_bytes(content)
    with pytest.raises(InputError, match="torn.pth is not a file of weights, or it is damaged"):
        read_weights(tmp_path / "torn.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": {"a": 1}}, torch.zeros(3), {"epoch": 1}]
)
def test_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "else.pth")
    with pytest.raises(InputError, match="holds no weights"):
        read_weights(tmp_path / "else.pth")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no weights at .*absent.pth"):
        read_weights(tmp_path / "absent.pth")


def test_another_architecture_is_refused_whole(network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {"trunk.weight": torch.ones(4, 3), "trunk.bias": torch.ones(9), "extra": torch.ones(1)}
    with pytest.raises(InputError, match="another architecture") as error:
        load_exactly(network, state, "file.pth", ignore="classifier")
    assert "1 unexpected, such as extra" in str(error.value)
    assert "1 of another shape, such as trunk.bias" in str(error.value)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_the_classifier_may_differ_where_that_is_said(network):
    other = nn.ModuleDict({"trunk": nn.Linear(3, 4), "classifier": nn.Linear(4, 9)}).state_dict()
    with pytest.raises(InputError):
        load_exactly(network, other, "file.pth")
    load_exactly(network, other, "file.pth", ignore="classifier")
    assert torch.equal(network["trunk"].weight, other["trunk.weight"])
