"""ImageNet weights: the donor's features exactly, or one clear line."""

import io
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

import reid_dcs


def images() -> Tensor:
    return torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def with_stride_1(donor: nn.Module) -> nn.Sequential:
    """The donor's features with the last stride of re-identification, in evaluation."""
    depthwise = donor.features[14].conv[1][0]
    assert depthwise.stride == (2, 2)
    depthwise.stride = (1, 1)
    return donor.features.eval()


def assert_same_features(trunk: nn.Module, donor: nn.Sequential) -> None:
    x = images().double()
    with torch.no_grad():
        expected, result = donor.double()(x), trunk.eval().double()(x)
    scale = expected.abs().max()
    assert expected.std((0, 2, 3)).mean() > 0.03 * scale  # they follow the image
    torch.testing.assert_close(result / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def donor() -> nn.Module:
    """Torchvision's network with nothing at its default, and features that follow the image."""
    torch.manual_seed(0)
    network = mobilenet_v2()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.7, 1.5)
            norm.bias.normal_(std=0.5)
            norm.momentum = 1.0  # the batch's own statistics
        norms[0].bias.uniform_(-2, 7)  # ReLU6 clips at both ends
        network.train()(torch.randn(4, 3, 64, 32))
        for norm in norms:
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(1, 1.6))
    return network


@pytest.mark.parametrize("name", reid_dcs.list_models("mobilenetv2_*"))
@pytest.mark.parametrize("content", ["network", "trunk"])
def test_a_local_file_gives_the_donors_features(name, content, donor, tmp_path):
    if name.startswith("mobilenetv2_200"):
        pytest.skip("MobileNetV2-200 has no ImageNet donor")
    file = tmp_path / "donor.pth"
    torch.save((donor if content == "network" else donor.features).state_dict(), file)
    trunk = reid_dcs.build_model(name, 5, pretrained=str(file)).trunk
    twin = mobilenet_v2()
    twin.load_state_dict(donor.state_dict())
    assert_same_features(trunk, with_stride_1(twin))


def test_the_expansion_keeps_its_statistics_in_training(donor, tmp_path):
    """The identity's BN holds the mean and variance of what the stem's BN and ReLU6 give."""
    file = tmp_path / "donor.pth"
    torch.save(donor.state_dict(), file)
    trunk = reid_dcs.build_model("mobilenetv2_base", 5, pretrained=str(file)).trunk
    stem_norm, norm = trunk.stem[1], trunk.expand[1]
    noise = torch.randn(20000, 32, generator=torch.Generator().manual_seed(0))
    clipped = (stem_norm.bias + stem_norm.weight * noise).clamp(0, 6)
    torch.testing.assert_close(norm.running_mean, clipped.mean(0), rtol=0.05, atol=0.01)
    torch.testing.assert_close(norm.running_var, clipped.var(0), rtol=0.05, atol=0.01)


def test_the_real_imagenet_weights(shared):
    file = shared / "data/weights/mobilenetv2_x1_0_imagenet_features.pth"
    if not file.is_file():
        pytest.skip(f"no ImageNet weights at {file}")
    state = torch.load(file, weights_only=True)
    network = mobilenet_v2()
    network.features.load_state_dict(state)
    trunk = reid_dcs.build_model("mobilenetv2_dcs", 5, pretrained=str(file)).trunk
    assert_same_features(trunk, with_stride_1(network))


# --- refusals ------------------------------------------------------------------------------------


def refusal(pretrained: bool | str) -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        reid_dcs.build_model("mobilenetv2_dcs", 5, pretrained=pretrained)
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
    assert f"no weights at {file}" in refusal(str(file))


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
    assert str(file) in refusal(str(file))


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_code_in_a_file_does_not_run(container, tmp_path):
    file, mark = tmp_path / "trap.pth", tmp_path / "ran"
    content = {"features.0.0.weight": Payload(mark)}
    if container == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))
    assert str(file) in refusal(str(file))
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"epoch": 3}, {}], ids=repr)
def test_a_file_of_something_else_is_refused(content, tmp_path):
    file = tmp_path / "other.pth"
    torch.save(content, file)
    assert str(file) in refusal(str(file))


def test_another_networks_weights_are_refused(donor, tmp_path):
    """Another architecture, another width, and a network with one tensor missing."""
    file = tmp_path / "other.pth"
    torch.save(resnet18().state_dict(), file)
    assert "another architecture" in refusal(str(file))
    torch.save(mobilenet_v2(width_mult=0.5).state_dict(), file)
    assert "shape" in refusal(str(file))
    state = dict(donor.state_dict())
    del state["features.3.conv.1.1.running_mean"]
    torch.save(state, file)
    assert "3.conv.1.1.running_mean" in refusal(str(file))


def test_a_download_without_a_network_says_what_to_fetch(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    message = refusal(True)
    assert "name resolution" in message
    assert "https://download.pytorch.org/models/mobilenet_v2-" in message
    assert "model.pretrained=FILE" in message


def test_a_download_of_something_else_is_refused_and_not_kept(monkeypatch, tmp_path):
    class Response(io.BytesIO):
        headers = {}

        def info(self):
            return self

        def get_all(self, name):
            return None

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: Response(b"captive portal"))
    assert "hash" in refusal(True)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
