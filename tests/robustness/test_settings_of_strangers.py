"""Settings in a file of weights are plain values: they read no variable and open no file."""

import os
import random
from pathlib import Path

import pytest
import torch

from reid_dcs import FeatureExtractor, InputError, build_model
from reid_dcs.config import EvaluateRun, TrainRun, compose, read_config, to_yaml
from reid_dcs.inference.load import read_trained
from reid_dcs.models.architecture import PACKAGED, read_architecture

PIECES = ["\\", "$", "{", "}", "${", "${oc.env:SECRET}", "${seed}", "a", ":", " ", "'", '"', "\n"]


def test_no_text_is_interpolated_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "leaked")
    rng = random.Random(0)
    for _ in range(60):
        text = "".join(rng.choices(PIECES, k=rng.randint(1, 9)))
        given = {"a": text, "b": [text, {"c": [text]}], "d": {"e": text}}
        settings = compose(EvaluateRun, {"model": {"options": given}, "data": {"root": text}})
        assert settings.model.options == given
        assert settings.data.root == os.path.expanduser(text)
        if "\n" not in text:
            (tmp_path / "x.yaml").write_text(to_yaml(settings))
            assert read_config(tmp_path / "x.yaml")["model"]["options"] == given


def weights(path, name: str = "mobilenetv2_dcs", /, **options) -> str:
    network = build_model(name.replace("fbnetv2", "mobilenetv2"), 2)
    model = {"name": name, "options": options, "num_classes": 2}
    torch.save({"format": 2, "model": model, "state_dict": network.state_dict()}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["dcs", "base"])
@pytest.mark.parametrize("where", ["/dev/zero", "found.json", "~/found.json", "./a", "", "a\nb"])
def test_a_file_names_no_architecture_to_open(where, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.json").write_text((PACKAGED / "synthetic_11m.json").read_text())
    path = weights("x.pt", f"fbnetv2_{kind}", architecture=where)
    with pytest.raises(InputError, match="files that weights name are not opened: pass") as caught:
        read_trained(path, {})
    assert "\n" not in str(caught.value)
    options = {"model": {"options": {"architecture": "found.json"}}}  # the user may
    assert read_trained(path, options).config.model.options["architecture"] == "found.json"


def test_a_packaged_architecture_is_that_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic_11m").write_text("{}")  # not this
    path = weights("x.pt", "fbnetv2_dcs", architecture="synthetic_11m")
    found = read_trained(path, {}).config.model.options["architecture"]
    assert found == read_architecture(PACKAGED / "synthetic_11m.json")


@pytest.mark.parametrize(
    ("windows", "said"),
    [(10**9, "windows must be a whole number from 1 to"), (20, "weights of another architecture")],
)
def test_options_that_the_weights_do_not_have_take_no_memory(windows, said, tmp_path):
    path = weights(tmp_path / "x.pt", windows=windows)
    with pytest.raises(InputError, match=said):
        FeatureExtractor(path, device="cpu")


def test_the_number_of_identities_is_that_of_the_weights(tmp_path):
    path = tmp_path / "x.pt"
    model = {"name": "mobilenetv2_base", "options": {}, "num_classes": 10**9}
    torch.save(
        {"model": model, "state_dict": build_model("mobilenetv2_base", 2).state_dict()}, path
    )
    assert FeatureExtractor(path, device="cpu").model.classifier.out_features == 2


@pytest.mark.parametrize("option", ["pretrained", "num_classes", "loss", "name", "use_gpu"])
def test_arguments_of_the_builder_are_no_options(option, tmp_path):
    path = weights(tmp_path / "x.pt", **{option: "/dev/zero"})
    with pytest.raises(InputError, match=f"model.options.{option} is not an option"):
        FeatureExtractor(path, device="cpu")


def test_a_variable_in_a_file_is_a_plain_text(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "leaked")
    path = weights(tmp_path / "x.pt", mode="${oc.env:SECRET}")
    with pytest.raises(InputError) as caught:
        FeatureExtractor(path, device="cpu")
    assert "leaked" not in str(caught.value) and "${oc.env:SECRET}" in str(caught.value)


@pytest.mark.parametrize("stored", ["the name", "the content"])
def test_a_run_is_resumed_from_a_checkpoint_with_either(stored):
    from reid_dcs.config import to_layer
    from reid_dcs.jobs.resume import check_resumable
    from reid_dcs.runs.network import build_card

    options = {"architecture": "synthetic_11m"}
    config = compose(TrainRun, {"model": {"name": "fbnetv2_dcs", "options": options}})
    model = build_card(config, 2).to_dict()["model"]
    if stored == "the name":  # written before
        model["options"] = model["options"] | options
    content = {"config": to_layer(config), "rng": [0], "model": model}
    check_resumable(content, config, Path("x.pt"))
    other = compose(TrainRun, config, {"model": {"options": {"architecture": "synthetic_23m"}}})
    with pytest.raises(InputError, match="architecture"):
        check_resumable(content, other, Path("x.pt"))


def test_weights_are_written_with_the_content_of_their_architecture():
    from reid_dcs.runs.network import build_card

    config = compose(TrainRun, {"model": {
        "name": "fbnetv2_dcs", "options": {"architecture": "synthetic_11m"}
    }})  # fmt: skip
    written = build_card(config, 2).options["architecture"]
    assert written == read_architecture("synthetic_11m")
