"""Weights to share: the tensors of a checkpoint in half the bytes, its card, no local paths."""

import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import reid_dcs
from reid_dcs import InputError
from reid_dcs.config import TrainRun, to_layer
from reid_dcs.weights import ModelCard, Preprocessing, read_card, read_weights, save_safetensors

CARD = ModelCard(
    "mobilenetv2_dcs",
    num_classes=5,
    preprocessing=Preprocessing(64, 32, [0.5] * 3, [0.2] * 3, "bicubic"),
    trained_on="synthetic",
    epoch=3,
    metrics={"mAP": 0.25, "dataset": "synthetic"},
    command="train_reid.py",
)


@pytest.fixture
def content():
    torch.manual_seed(0)
    model = reid_dcs.build_model("mobilenetv2_dcs", 5)
    config = to_layer(TrainRun())
    config |= {"output_dir": "/home/somebody/out"}
    config["data"]["root"] = "/home/somebody/data"
    config["model"]["pretrained"] = "/home/somebody/imagenet.pth"
    config["train"]["init"] = "/home/somebody/people.pt"
    config["data"]["options"] = {"msmt17": {"root": "/home/somebody/msmt17", "merge": True}}
    config["data"] |= {key: "/home/somebody/x" for key in ("shards", "val_shards", "label_map")}
    return {
        "format": 2,
        **CARD.to_dict(),
        "config": config,
        "optimizer": {"state": {0: torch.zeros(99)}},
        "state_dict": model.state_dict(),
    }


def test_a_round_trip_keeps_the_card_and_the_configuration(content, tmp_path):
    path = tmp_path / "small.safetensors"
    rounding = save_safetensors(path, content, CARD)
    read = read_weights(path)
    assert read_card(read, path) == CARD
    assert read["config"]["data"]["height"] == content["config"]["data"]["height"]
    assert list(read["state_dict"]) == sorted(content["state_dict"])
    worst = 0.0
    for name, before in content["state_dict"].items():
        after = read["state_dict"][name]
        assert after.dtype == before.dtype and after.shape == before.shape
        if before.ndim < 2:
            assert torch.equal(after, before)
        else:
            worst = max(worst, ((after - before).abs().max() / before.abs().max()).item())
    assert 0 < worst < 2**-11 and worst == pytest.approx(rounding, rel=1e-3)
    assert reid_dcs.FeatureExtractor(path)(torch.zeros(3, 64, 32)).shape == (1, 1280)


def test_it_is_half_as_large_and_names_no_folder(content, tmp_path):
    path = tmp_path / "small.safetensors"
    card = replace(CARD, trained_on_options=content["config"]["data"]["options"])
    save_safetensors(path, content, card)
    whole = sum(t.numel() * t.element_size() for t in content["state_dict"].values())
    assert path.stat().st_size < 0.55 * whole
    assert b"somebody" not in path.read_bytes()
    config = read_weights(path)["config"]
    assert config["model"]["pretrained"] == "imagenet.pth"
    assert config["train"]["init"] == "people.pt"
    assert config["data"]["options"] == {"msmt17": {"merge": True}}
    assert read_card(read_weights(path), path).trained_on_options == {"msmt17": {"merge": True}}


def test_saving_twice_changes_nothing(content, tmp_path):
    save_safetensors(tmp_path / "a.safetensors", content, CARD)
    once = read_weights(tmp_path / "a.safetensors")
    assert save_safetensors(tmp_path / "b.safetensors", once, CARD) == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("number", [7e4, float("nan"), float("inf")])
def test_a_number_that_float16_cannot_represent_is_refused(number, content, tmp_path):
    content["state_dict"]["classifier.weight"][0, 0] = number
    with pytest.raises(InputError, match="classifier.weight holds a number that float16 cannot"):
        save_safetensors(tmp_path / "small.safetensors", content, CARD)
    assert list(tmp_path.iterdir()) == []


def test_safetensors_of_somebody_else_are_read_too(content, tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"weight": torch.ones(2, 2, dtype=torch.bfloat16)}, path)
    read = read_weights(path)
    assert list(read) == ["state_dict"] and torch.equal(
        read["state_dict"]["weight"], torch.ones(2, 2)
    )


@pytest.mark.parametrize("damage", ["cut", "header", "length", "no JSON", "no object"])
def test_a_damaged_file_is_refused(damage, content, tmp_path):
    path = tmp_path / "small.safetensors"
    save_safetensors(path, content, CARD)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"]["reid_dcs"] = "[1]" if damage == "no object" else "{not JSON"
    metadata = json.dumps(header).encode()
    changed = struct.pack("<Q", len(metadata)) + metadata + whole[8 + length :]
    path.write_bytes(
        {
            "cut": whole[:-100],
            "header": whole[:9] + b"x" * 40 + whole[49:],
            "length": struct.pack("<Q", 2**62) + whole[8:],
        }.get(damage, changed)
    )
    with pytest.raises(InputError, match="is not a file of weights, or it is damaged"):
        read_weights(path)
