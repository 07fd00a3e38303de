"""A file or a name: which is meant, and what a name brings along."""

import pytest
import torch
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs import InputError, runs
from reid_dcs.zoo import obtain, read_manifest, read_named, weights_file

NAME = "mobilenetv2_dcs_synthetic"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_a_name_is_a_file_in_the_cache(own_cache):
    assert weights_file(NAME) == own_cache / f"{NAME}.safetensors"


def test_a_file_wins_over_a_name(tmp_path):
    (tmp_path / NAME).write_bytes(b"mine")
    assert weights_file(NAME).read_bytes() == b"mine"


@pytest.mark.parametrize("typo", ["mobilenetv2_dcs_sinthetic", "mobilenet_dcs_synthetic"])
def test_what_is_neither_lists_close_names(typo, tmp_path):
    with pytest.raises(InputError) as caught:
        weights_file(typo)
    message = str(caught.value)
    assert f"no weights at {tmp_path / typo}" in message and NAME in message
    assert "python tools/model_zoo.py list" in message and "\n" not in message


def test_a_file_of_torchreids_is_described_by_its_entry(own_cache, monkeypatch):
    torch.manual_seed(0)
    network = reid_dcs.build_model("osnet_x0_25", 751)

    def download(url: str, output: str) -> None:
        torch.save({"state_dict": network.state_dict(), "epoch": 1}, output)

    monkeypatch.setattr("gdown.download", download)
    path, content = read_named("osnet_x0_25_market1501")
    assert path == own_cache / "osnet_x0_25_market1501.pth"
    assert content["model"] == {"name": "osnet_x0_25", "options": {}, "num_classes": 751}
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
    own = {tuple(value.shape): value for value in model.state_dict().values()}
    stem = network.conv1.conv.weight
    assert torch.equal(own[tuple(stem.shape)], stem)


def test_the_extractor_takes_a_name():
    extractor = reid_dcs.FeatureExtractor(NAME)
    assert (extractor.height, extractor.width) == (64, 32)
    assert extractor(torch.zeros(3, 64, 32)).shape == (1, 1280)


def test_evaluation_by_name_keeps_its_features_in_the_cache(own_cache, tiny_root):
    metrics = runs.evaluate(
        {"data": {"root": str(tiny_root)}, "eval": {"weights": NAME}, "device": "cpu"}
    )
    assert metrics["mAP"] > 0.6 and metrics["trained_on"] == "synthetic"
    assert (own_cache / "features-synthetic-query.npz").is_file()


def test_a_damaged_file_is_mended(own_cache):
    path = obtain(NAME, read_manifest()[NAME])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert weights_file(NAME).read_bytes() == whole


@pytest.mark.slow
def test_the_shipped_figures_reproduce(tmp_path):
    """On the generated set, drawn anew."""
    metrics = runs.evaluate(
        {"data": {"root": str(tmp_path)}, "eval": {"weights": NAME}, "device": "cpu"}
    )
    stated = read_manifest()[NAME].metrics
    assert metrics["mAP"] == pytest.approx(stated["mAP"], abs=0.002)
    assert metrics["rank1"] == pytest.approx(stated["rank1"], abs=0.01)
