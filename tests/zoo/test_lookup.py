"""Weights by file or by name of the zoo, with their card."""

import json
import shutil

import pytest
import torch
import yaml
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs import InputError, runs
from reid_dcs.weights import Preprocessing
from reid_dcs.zoo import (
    PACKAGE,
    cache_folder,
    download,
    find_weights,
    read_manifest,
    read_weights_and_card,
)

NAME = "mobilenetv2_dcs_synthetic"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_a_name_is_a_file_in_the_cache(own_cache):
    assert find_weights(NAME) == own_cache / f"{NAME}.safetensors"


@pytest.mark.parametrize("home", ["/proc", "/dev/null", "nobody's"])
def test_packaged_weights_need_no_home(monkeypatch, home):
    monkeypatch.delenv("REID_DCS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home == "nobody's":  # neither HOME nor an entry in the table of users
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
        with pytest.raises(InputError, match="no home folder: set REID_DCS_CACHE"):
            cache_folder()
    else:
        monkeypatch.setenv("HOME", home)
    path = find_weights(NAME)
    assert path.is_relative_to(PACKAGE) and path.name == f"{NAME}.safetensors"
    with pytest.raises(InputError, match="no weights at"):
        find_weights("~nobody/absent")


def test_a_file_wins_over_a_name(tmp_path):
    (tmp_path / NAME).write_bytes(b"mine")
    assert find_weights(NAME).read_bytes() == b"mine"


@pytest.mark.parametrize("typo", ["mobilenetv2_dcs_sinthetic", "mobilenet_dcs_synthetic"])
def test_an_unknown_name_lists_close_names(typo, tmp_path):
    with pytest.raises(InputError) as caught:
        find_weights(typo)
    message = str(caught.value)
    assert f"no weights at {tmp_path / typo}" in message and NAME in message
    assert "python tools/model_zoo.py list" in message and "\n" not in message


def test_a_detector_of_the_zoo_is_no_network():
    with pytest.raises(InputError, match="yolox_nano finds people for .*gallery index --detect"):
        runs.evaluate({"eval": {"weights": "yolox_nano"}})


def test_a_file_of_torchreids_has_the_card_of_its_entry(own_cache, monkeypatch):
    torch.manual_seed(0)
    network = reid_dcs.build_model("osnet_x0_25", 751)

    def gdown(url: str, output: str) -> None:
        torch.save({"state_dict": network.state_dict(), "epoch": 1}, output)

    monkeypatch.setattr("gdown.download", gdown)
    path, content, card = read_weights_and_card("osnet_x0_25_market1501")
    assert path == own_cache / "osnet_x0_25_market1501.pth" and "model" not in content
    assert (card.model, card.num_classes, card.trained_on) == ("osnet_x0_25", 751, "market1501")
    assert card.preprocessing == Preprocessing(256, 128)
    extractor = reid_dcs.FeatureExtractor("osnet_x0_25_market1501", batch_size=2)
    images = torch.randn(2, 3, 256, 128)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(network.eval()(images))
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)


def test_training_begins_with_a_name(monkeypatch):
    network = torchreid_models.build_model("osnet_x1_0", 751, pretrained=False)
    monkeypatch.setattr(
        "gdown.download", lambda _, output: torch.save(network.state_dict(), output)
    )
    model = reid_dcs.build_model("osnet_x1_0_dcs", 5, pretrained="osnet_x1_0_market1501")
    by_shape = {tuple(value.shape): value for value in model.state_dict().values()}
    stem = network.conv1.conv.weight
    assert torch.equal(by_shape[tuple(stem.shape)], stem)


def test_the_extractor_takes_a_name():
    extractor = reid_dcs.FeatureExtractor(NAME)
    assert (extractor.height, extractor.width) == (64, 32)
    assert extractor(torch.zeros(3, 64, 32)).shape == (1, 1280)


def test_evaluation_by_name_keeps_its_features_in_the_cache(own_cache, tiny_root):
    settings = {"data": {"root": str(tiny_root)}, "eval": {"weights": NAME}, "device": "cpu"}
    metrics = runs.evaluate(settings)
    assert metrics["mAP"] > 0.6 and metrics["trained_on"] == "synthetic"
    assert (own_cache / "features-synthetic-query.npz").is_file()


def test_the_metrics_name_the_weights_as_the_user_did(tiny_root, tmp_path):
    settings = {"data": {"root": str(tiny_root)}, "device": "cpu", "output_dir": "out"}
    shutil.copy(find_weights(NAME), tmp_path / "mine.safetensors")
    for given in (NAME, "./mine.safetensors"):
        runs.evaluate(settings | {"eval": {"weights": given}})
        metrics = json.loads((tmp_path / "out/metrics.json").read_text())
        config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
        assert metrics["weights"] == config["eval"]["weights"] == given


def test_a_damaged_file_is_replaced(own_cache):
    path = download(NAME, read_manifest()[NAME])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert find_weights(NAME).read_bytes() == whole


@pytest.mark.slow
def test_the_shipped_figures_reproduce(tmp_path):
    """On the generated set, drawn anew."""
    metrics = runs.evaluate(
        {"data": {"root": str(tmp_path)}, "eval": {"weights": NAME}, "device": "cpu"}
    )
    stated = read_manifest()[NAME].metrics
    assert metrics["mAP"] == pytest.approx(stated["mAP"], abs=0.002)
    assert metrics["rank1"] == pytest.approx(stated["rank1"], abs=0.01)
