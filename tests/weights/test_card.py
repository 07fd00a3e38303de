"""The model card: a round trip, files of earlier versions, and cards that are refused."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from reid_dcs import InputError
from reid_dcs.runtime.environment import command_line
from reid_dcs.weights import ModelCard, Preprocessing, read_card
from reid_dcs.weights.card import CARD_KEYS, IMAGENET_MEAN, IMAGENET_STD

CARD = ModelCard(
    model="mobilenetv2_dcs",
    options={"windows": 1, "architecture": {"stages": [[1, 2], [3, 4]]}},
    num_classes=5,
    preprocessing=Preprocessing(64, 48, [0.5, 0.4, 0.3], [0.2, 0.3, 1], "bicubic"),
    trained_on="cuhk03",
    trained_on_options={"split_id": 3},
    epoch=7,
    metrics={"mAP": 0.25, "rerank": None, "dataset": "cuhk03"},
    command="train_reid.py data.name=cuhk03",
)
STATE = {"classifier.weight": torch.zeros(5, 8)}


def test_a_round_trip_through_json_keeps_every_field():
    content = json.loads(json.dumps(CARD.to_dict()))
    assert set(content) == set(CARD_KEYS)
    assert ModelCard.from_dict(content, "file") == CARD


def test_changing_what_was_written_leaves_the_card():
    card = replace(CARD, options={"nested": {"a": [1]}})
    card.to_dict()["model"]["options"]["nested"]["a"].append(2)
    assert card.options == {"nested": {"a": [1]}}


def test_other_keys_of_a_file_are_ignored():
    assert read_card(CARD.to_dict() | {"state_dict": STATE, "optimizer": {}}, "file") == CARD


@pytest.mark.parametrize(
    "preprocessing",
    [{}, {"mean": [0.485, 0.456, 0.406]}, {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}],
)
def test_a_checkpoint_written_before_there_were_cards_has_one(preprocessing):
    content = {
        "format": 2,
        "model": {"name": "mobilenetv2_dcs", "options": {"windows": 1}, "num_classes": 5},
        "preprocessing": {"height": 64, "width": 32} | preprocessing,
        "config": {"data": {"name": "cuhk03", "options": {"split_id": 3}, "root": "x"}},
        "state_dict": STATE,
        "epoch": 7,
        "metrics": {"mAP": 0.25},
    }
    assert read_card(content, "checkpoint.pt") == ModelCard(
        model="mobilenetv2_dcs",
        options={"windows": 1},
        num_classes=5,
        preprocessing=Preprocessing(
            64, 32, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "bilinear"
        ),
        task="reid",
        trained_on="cuhk03",
        trained_on_options={"split_id": 3},
        epoch=7,
        metrics={"mAP": 0.25},
    )


def test_a_file_that_does_not_say_its_model_has_no_card():
    with pytest.raises(InputError, match="file: wrong model card: model.name is missing"):
        ModelCard.from_dict({}, "file")
    assert read_card({"state_dict": STATE, "epoch": 1}, "torchreid.pth") is None


@pytest.mark.parametrize(
    "state, classes",
    [(STATE, 5), ({}, 0), ({"classifier.weight": torch.zeros(9, 8)}, 9),
     ({"classifier.weight": torch.tensor(1.0)}, 0)],
)  # fmt: skip
def test_the_number_of_classes_is_the_classifiers(state, classes):
    assert read_card(CARD.to_dict() | {"state_dict": state}, "file").num_classes == classes


def deep(levels: int) -> dict:
    nested: dict = {}
    for _ in range(levels):
        nested = {"a": nested}
    return nested


@pytest.mark.parametrize(
    "path, value, expected",
    [
        ("model", "resnet50", "model must be keys and values, not 'resnet50'"),
        ("model", {}, "model.name is missing"),
        ("model.name", 3, "model.name must be a name, not 3"),
        ("model.name", "two\nlines", "model.name must be a name"),
        ("model.options", [1], "model.options must be keys and plain values"),
        ("model.options", {1: 2}, "model.options"),
        ("model.options", {"a": torch.zeros(2)}, "model.options"),
        ("model.options", deep(10_000), "model.options"),
        ("model.num_classes", True, "model.num_classes must be a whole number, not True"),
        ("model.num_classes", -1, "model.num_classes"),
        ("model.num_classes", 5.0, "model.num_classes"),
        ("model.size", 5, "model.size is unknown"),
        ("preprocessing", [1], "preprocessing must be keys and values"),
        ("preprocessing.height", 0, "preprocessing.height must be a whole number from 1 to 10000"),
        ("preprocessing.width", 10**9, "preprocessing.width"),
        (
            "preprocessing.center_crop",
            1e-3,
            "preprocessing.center_crop must be 0, or a number from",
        ),
        ("preprocessing.width", "64", "preprocessing.width"),
        ("preprocessing.mean", [0.5, 0.5], "preprocessing.mean must be three numbers"),
        ("preprocessing.mean", 0.5, "preprocessing.mean"),
        ("preprocessing.mean", ["0.5"] * 3, "preprocessing.mean"),
        ("preprocessing.mean", [float("nan")] * 3, "preprocessing.mean"),
        ("preprocessing.std", [0.2, 0.0, 0.2], "preprocessing.std must be three numbers above 0"),
        ("preprocessing.std", [0.2, float("inf"), 0.2], "preprocessing.std"),
        ("preprocessing.interpolation", "cubic", "must be one of nearest, box, bilinear"),
        ("preprocessing.interpolation", ["bilinear"], "preprocessing.interpolation"),
        ("preprocessing.crop", 0.9, "preprocessing.crop is unknown"),
        ("task", 1, "task must be a name"),
        ("trained_on", "market1501", "trained_on must be keys and values"),
        ("trained_on.options", None, "trained_on.options"),
        ("epoch", "x" * 1000, "epoch must be a whole number"),
        ("metrics", [0.5], "metrics must be keys and plain values"),
        ("command", ["train"], "command must be text"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(path, value, expected):
    content = CARD.to_dict() | {"state_dict": STATE}
    key, _, name = path.partition(".")
    content[key] = content[key] | {name: value} if name else value
    with pytest.raises(InputError) as caught:
        read_card(content, "strange.pt")
    message = str(caught.value)
    assert message.startswith("strange.pt: wrong model card: ") and expected in message
    assert "--model NAME" in message and "\n" not in message and len(message) < 300


def test_a_wrong_configuration_of_an_earlier_version_is_refused_or_ignored():
    content = {"model": {"name": "x"}, "state_dict": STATE}
    assert read_card(content | {"config": [1]}, "file").trained_on == ""
    assert read_card(content | {"config": {"data": 1}}, "file").trained_on == ""
    with pytest.raises(InputError, match="trained_on.name must be text"):
        read_card(content | {"config": {"data": {"name": 1}}}, "file")


def test_the_title_has_what_is_known():
    assert CARD.title == "mobilenetv2_dcs\ncuhk03, epoch 7"
    assert replace(CARD, epoch=0).title == "mobilenetv2_dcs\ncuhk03"
    assert ModelCard("resnet50").title == "resnet50"


def test_the_command_names_no_folder_of_this_machine(monkeypatch):
    words = ["/home/somebody/tools/train.py", "--root", "/home/somebody/data", "output_dir=/home/x"]
    monkeypatch.setattr(sys, "argv", [*words, "data.name=folder", "--root", "datasets"])
    expected = "train.py --root data output_dir=x data.name=folder --root datasets"
    assert command_line() == expected
