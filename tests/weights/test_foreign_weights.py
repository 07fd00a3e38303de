"""Checkpoints of other projects: where their state dict is, and what is no file of weights."""

import argparse
import itertools
import pathlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from reid_dcs import FeatureExtractor, InputError, build_model
from reid_dcs.weights import load_exactly, read_card, read_weights

STATE = {"conv.weight": torch.ones(2, 2), "classifier.weight": torch.ones(3, 2)}
KEYS = ["state_dict", "model", "net", "net_dict", "model_state_dict", "network"]


def read(content: object, path) -> dict:
    torch.save(content, path)
    return read_weights(path)


def assert_is_state(state: dict) -> None:
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("key", KEYS)
def test_the_state_is_found_under_any_usual_key_and_one_level_down(key, tmp_path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.1, momentum=0.9)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    others = {"epoch": 3, "optimizer": optimizer.state_dict(), "lr": [0.1], "name": "osnet"}
    for content in (
        {key: STATE},
        {**others, key: STATE},
        {"checkpoint": {**others, key: STATE}, "version": 2},
        {**others, key: {"state_dict": STATE, "epoch": 3}},
        {**others, "best": STATE},
    ):
        assert_is_state(read(content, tmp_path / "file.pt")["state_dict"])


@pytest.mark.parametrize("prefixes", [*itertools.permutations(("module.", "_orig_mod.", "model."))])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_prefixes_of_wrappers_are_removed_in_any_order(prefixes, count, tmp_path):
    prefix = "".join(prefixes[:count])
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    assert_is_state(read({"model": state}, tmp_path / "file.pt")["state_dict"])
    inside = {f"{prefix}conv._orig_mod.weight": STATE["conv.weight"]}
    assert list(read(inside, tmp_path / "file.pt")["state_dict"]) == ["conv.weight"]


def test_names_that_would_become_one_stay(tmp_path):
    state = {"module.weight": torch.ones(1), "weight": torch.zeros(1)}
    assert list(read(state, tmp_path / "file.pt")["state_dict"]) == list(state)


def test_metadata_of_others_is_ignored(tmp_path):
    content = {
        "model": STATE,
        "args": argparse.Namespace(lr=0.1, root=pathlib.Path("/data")),
        "config": {"data": {"name": 3}},
        "preprocessing": "none",
        "task": 7,
        "epoch": "last",
        "metrics": np.ones(3),
        "best": np.int64(3),
        "history": 1,
        "command": None,
    }
    read_content = read(content, tmp_path / "file.pt")
    assert_is_state(read_content["state_dict"])
    assert read_card(read_content, "file.pt") is None
    assert "config" not in read_content and "history" not in read_content


def test_a_network_is_loaded_from_the_file_of_another_project(tmp_path):
    torch.manual_seed(0)
    network = build_model("osnet_x0_25", 5).eval()
    state = {f"module.model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"net_dict": state, "model": "osnet", "epoch": 1}, tmp_path / "theirs.pth")
    extractor = FeatureExtractor(tmp_path / "theirs.pth", "osnet_x0_25", device="cpu")
    images = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        expected = nn.functional.normalize(network(images))
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)


def test_keys_are_named_where_there_are_no_weights(tmp_path):
    with pytest.raises(InputError, match="holds no weights among its keys epoch, optimizer: use"):
        read({"epoch": 1, "optimizer": {"lr": 0.1}}, tmp_path / "file.pt")
    with pytest.raises(InputError, match="among its keys student, teacher"):
        read({"student": STATE, "teacher": STATE}, tmp_path / "file.pt")


def test_where_nothing_fits_the_names_of_both_are_in_the_error():
    with pytest.raises(InputError) as caught:
        load_exactly(nn.Linear(2, 3), {"encoder.a": torch.ones(1), "b": torch.ones(2)}, "file.pt")
    assert "nothing fits: it has encoder.a, b; the model has weight, bias" in str(caught.value)


class Network(nn.Linear):
    pass


def files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    contents = {
        "a web page": b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>",
        "a web page (HTML)": b"\xef\xbb\xbf<HTML><body>Quota exceeded</body></HTML>",
        "an XML page": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "a JSON text": b'{"error": "not found"}',
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\n",
        "an ONNX graph": b"\x08\x0a\x12\x07pytorch\x1a\x052.4.0:\x8d\x01",
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(99),
        "a NumPy array": b"\x93NUMPY\x01\x00" + bytes(99),
        "packed by gzip": b"\x1f\x8b\x08" + bytes(99),
    }  # fmt: skip
    made = {title: folder / f"{number}.pt" for number, title in enumerate(contents)}
    for title, path in made.items():
        path.write_bytes(contents[title])
    for zipped in (True, False):
        title = "a whole pickled module (torch.nn.modules.linear.Linear)" + " " * zipped
        made[title] = folder / f"module{zipped}.pt"
        torch.save(nn.Linear(2, 3), made[title], _use_new_zipfile_serialization=zipped)
    made["a whole pickled module"] = folder / "yolo.pt"
    torch.save({"epoch": 1, "model": nn.Sequential(nn.Linear(2, 3))}, folder / "yolo.pt")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(nn.Linear(2, 3)), folder / "script.pt")
    made["a TorchScript archive"] = folder / "script.pt"
    np.savez(folder / "arrays.npz", a=np.ones(3))
    made["an archive of NumPy arrays"] = folder / "arrays.npz"
    return made


def test_what_is_no_file_of_weights_is_said_by_name(tmp_path):
    for title, path in files(tmp_path).items():
        with pytest.raises(InputError) as caught:
            read_weights(path)
        message = str(caught.value)
        assert f"is not a file of weights but {title.strip()}" in message and "\n" not in message
        assert len(message) < 300


def test_a_real_onnx_file_is_named(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [result])
    for producer in ("", "pytorch"):
        model = onnx.helper.make_model(graph, producer_name=producer)
        (tmp_path / "x.pt").write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="but an ONNX graph"):
            read_weights(tmp_path / "x.pt")
