"""ImageNet weights: the published network's features exactly, or a one-line error."""

import hashlib
import io
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import torch
from helpers.networks import assert_same_features, images, randomize_norms, representative
from torch import nn
from torchreid import models as torchreid_models
from torchvision.models import mobilenet_v2, resnet18, resnet50

import reid_dcs

TWINS = {
    "mobilenetv2": mobilenet_v2,
    "osnet_x1_0": lambda: torchreid_models.build_model("osnet_x1_0", 7, pretrained=False),
    "resnet50": resnet50,
}
"""The network that each backbone's weights were trained in, as its library builds it."""


@pytest.fixture(scope="module")
def twins() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {backbone: randomize_norms(build()) for backbone, build in TWINS.items()}


@pytest.fixture(scope="module")
def donor(twins) -> nn.Module:
    return twins["mobilenetv2"]


def feature(backbone: str, twin: nn.Module) -> nn.Module:
    """The twin in evaluation up to its feature, with a last stride of 1."""
    network = TWINS[backbone]().eval()
    network.load_state_dict(twin.state_dict())
    if backbone == "osnet_x1_0":
        return network  # including its fully connected layer
    if backbone == "mobilenetv2":
        strided, network.classifier = [network.features[14].conv[1][0]], nn.Identity()
    else:
        first, network.fc = network.layer4[0], nn.Identity()
        strided = [first.conv2, first.downsample[0]]
    for convolution in strided:
        assert convolution.stride == (2, 2)
        convolution.stride = (1, 1)
    return network


def assert_gives(model: nn.Module, network: nn.Module) -> None:
    """The feature before the neck equals the output of the network."""
    model.neck = nn.Identity()
    x = images().double()
    with torch.no_grad():
        assert_same_features(model.eval().double()(x), network.double()(x), 1e-5)


DONATED = [
    pytest.param(name, backbone, marks=() if representative(name) else pytest.mark.slow)
    for backbone in TWINS
    for name in reid_dcs.list_models(f"{backbone}_*")
    if "_200_" not in name
]


@pytest.mark.parametrize(("name", "backbone"), DONATED)
def test_a_local_file_gives_the_donors_features(name, backbone, twins, tmp_path):
    file = tmp_path / "donor.pth"
    torch.save(twins[backbone].state_dict(), file)
    model = reid_dcs.build_model(name, 5, pretrained=str(file))
    assert_gives(model, feature(backbone, twins[backbone]))


@pytest.mark.parametrize("backbone", TWINS)
def test_a_file_of_the_backbone_alone_gives_the_donors_features(backbone, twins, tmp_path):
    """A file without classifier, as trackers and detectors publish it."""
    file, twin = tmp_path / "backbone.pth", twins[backbone]
    state = twin.features.state_dict() if backbone == "mobilenetv2" else twin.state_dict()
    state = {k: v for k, v in state.items() if not k.startswith(("fc.w", "fc.b", "classifier"))}
    torch.save(state, file)
    model = reid_dcs.build_model(f"{backbone}_base", 5, pretrained=str(file))
    assert_gives(model, feature(backbone, twin))


def test_a_file_of_data_parallel_or_without_counters_gives_the_donors_features(twins, tmp_path):
    file, twin = tmp_path / "old.pth", twins["osnet_x1_0"]
    state = {f"module.{k}": v for k, v in twin.state_dict().items() if "batches" not in k}
    torch.save({"state_dict": state}, file)
    model = reid_dcs.build_model("osnet_x1_0_dcs", 5, pretrained=str(file))
    assert_gives(model, feature("osnet_x1_0", twin))


def test_the_expansion_keeps_its_statistics_in_training(donor, tmp_path):
    """The BN of the identity holds mean and variance of the outputs of the stem's BN and ReLU6."""
    file = tmp_path / "donor.pth"
    torch.save(donor.state_dict(), file)
    trunk = reid_dcs.build_model("mobilenetv2_base", 5, pretrained=str(file)).trunk
    stem_norm, norm = trunk.stem[1], trunk.expand[1]
    noise = torch.randn(20000, 32, generator=torch.Generator().manual_seed(0))
    clipped = (stem_norm.bias + stem_norm.weight * noise).clamp(0, 6)
    torch.testing.assert_close(norm.running_mean, clipped.mean(0), rtol=0.05, atol=0.01)
    torch.testing.assert_close(norm.running_var, clipped.var(0), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("name", ["mobilenetv2_base", "mobilenetv2_dcs"])
def test_the_real_imagenet_weights(name, shared):
    file = shared / "data/weights/mobilenetv2_x1_0_imagenet_features.pth"
    if not file.is_file():
        pytest.skip(f"no ImageNet weights at {file}")
    state = torch.load(file, weights_only=True)
    network = mobilenet_v2()
    network.features.load_state_dict(state)
    model = reid_dcs.build_model(name, 5, pretrained=str(file))
    assert_gives(model, feature("mobilenetv2", network))


# --- refusals ------------------------------------------------------------------------------------


def error_message(pretrained: bool | str, name: str = "mobilenetv2_dcs") -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        reid_dcs.build_model(name, 5, pretrained=pretrained)
    message = str(caught.value)
    assert "\n" not in message
    return message


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_missing_file_is_named(tmp_path):
    file = tmp_path / "nothing.pth"
    assert f"no weights at {file}" in error_message(str(file))


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "flipped"])
def test_a_damaged_file_is_refused(damage, donor, tmp_path):
    file = tmp_path / "damaged.pth"
    torch.save(donor.state_dict(), file)
    whole = file.read_bytes()
    content = {
        "empty": b"",
        "text": b"<html>404</html>\n" * 50,
        "truncated": whole[: len(whole) // 2],
        "flipped": whole[:40] + bytes(b ^ 0xFF for b in whole[40:4000]) + whole[4000:],
    }
    file.write_bytes(content[damage])
    assert str(file) in error_message(str(file))


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_code_in_a_file_does_not_run(container, tmp_path):
    file, mark = tmp_path / "trap.pth", tmp_path / "ran"
    content = {"features.0.0.weight": Payload(mark)}
    if container == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))
    assert str(file) in error_message(str(file))
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"epoch": 3}, {}], ids=repr)
def test_a_file_of_something_else_is_refused(content, tmp_path):
    file = tmp_path / "other.pth"
    torch.save(content, file)
    assert str(file) in error_message(str(file))


def test_another_networks_weights_are_refused(donor, tmp_path):
    """Another architecture, another width, and a network with one tensor missing."""
    file = tmp_path / "other.pth"
    torch.save(resnet18().state_dict(), file)
    assert "another architecture" in error_message(str(file))
    torch.save(mobilenet_v2(width_mult=0.5).state_dict(), file)
    assert "shape" in error_message(str(file))
    state = dict(donor.state_dict())
    del state["features.3.conv.1.1.running_mean"]
    torch.save(state, file)
    assert "3.conv.1.1.running_mean" in error_message(str(file))


# --- downloads -----------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub/checkpoints"


def serve(monkeypatch, content: bytes) -> list[str]:
    """Every source gives this content; returns the list of what is asked for."""
    asked = []

    def fetch(source: str, part: Path, size: int | None) -> None:
        asked.append(source)
        part.write_bytes(content)

    monkeypatch.setattr("reid_dcs.zoo.cache.fetch", fetch)
    return asked


@pytest.mark.parametrize("backbone", TWINS)
def test_a_download_without_a_network_says_what_to_fetch_and_where_to_put_it(
    backbone, monkeypatch, cache
):
    def offline(*args, **kwargs):
        raise requests.ConnectionError("Temporary failure\nin name resolution")

    monkeypatch.setattr("reid_dcs.zoo.sources.PAUSE", 0)
    monkeypatch.setattr("requests.get", offline)
    monkeypatch.setattr("gdown.download", offline)
    url, file = {
        "mobilenetv2": ("https://download.pytorch.org/models/mobilenet_v2-", "mobilenet_v2-"),
        "osnet_x1_0": ("https://drive.google.com/file/d/1", "osnet_x1_0_imagenet.pth"),
        "resnet50": ("https://download.pytorch.org/models/resnet50-", "resnet50-"),
    }[backbone]
    message = error_message(True, f"{backbone}_dcs")
    assert "no connection" in message
    assert f"download {url}" in message
    assert f"put it at {cache / file}" in message
    assert "model.pretrained=FILE" in message


@pytest.mark.parametrize("name", [*reid_dcs.list_models("mobilenetv2_200_*"), "fbnetv2_dcs"])
@pytest.mark.parametrize("source", [True, "weights.pth"])
def test_a_backbone_without_official_weights_says_so(name, source):
    assert f"{name}: there are no official ImageNet weights" in error_message(source, name)


def test_a_download_is_kept_and_checked(monkeypatch, cache, donor, capsys):
    content = io.BytesIO()
    torch.save(donor.state_dict(), content)
    asked = serve(monkeypatch, content.getvalue())
    official = reid_dcs.build_model("mobilenetv2_base", 5).trunk.donor
    begins = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    published = replace(official, weights=replace(official.weights, sha256=begins))
    for _ in range(2):
        features, _ = published.load(True)
    assert asked == official.weights.sources
    x = images()
    assert torch.equal(features.eval()(x), donor.features.eval()(x))
    kept = cache / published.weights.file
    kept.write_bytes(kept.read_bytes() + b"?")
    published.load(True)
    assert f"{kept} has the sha256" in capsys.readouterr().err
    assert kept.read_bytes() == content.getvalue()


@pytest.mark.parametrize("backbone", ["mobilenetv2", "resnet50"])
def test_torchvisions_names_say_how_the_hash_begins(backbone):
    weights = reid_dcs.build_model(f"{backbone}_base", 5).trunk.donor.weights
    assert re.fullmatch("[0-9a-f]{8}", weights.sha256)
    assert weights.file.endswith(f"-{weights.sha256}.pth")


def test_a_file_put_into_the_cache_is_taken(cache, twins):
    """As the message of a machine without a network says."""
    cache.mkdir(parents=True)
    torch.save(twins["osnet_x1_0"].state_dict(), cache / "osnet_x1_0_imagenet.pth")
    model = reid_dcs.build_model("osnet_x1_0_dcs", 5, pretrained=True)
    assert_gives(model, feature("osnet_x1_0", twins["osnet_x1_0"]))


@pytest.mark.parametrize(
    ("name", "wrong"), [("mobilenetv2_dcs", "sha256"), ("osnet_x1_0_dcs", "not a file of weights")]
)
def test_a_download_of_something_else_is_refused_and_not_kept(name, wrong, monkeypatch, cache):
    serve(monkeypatch, b"captive portal")
    assert wrong in error_message(True, name)
    assert [path for path in cache.iterdir() if not path.name.startswith(".")] == []
