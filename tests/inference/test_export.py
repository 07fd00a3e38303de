"""tools/export.py: an exported network matches PyTorch, or nothing is written."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.commands import assert_refused
from PIL import Image

from reid_dcs import FeatureExtractor, InputError, build_model
from reid_dcs.data.decode import read_image
from reid_dcs.inference import export
from reid_dcs.weights import ModelCard, read_weights

NAME = "mobilenetv2_dcs_synthetic"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pictures(tiny_root):
    return tiny_root / "synthetic/query"


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", [[], pytest.param(["--output-dir", "out"], marks=pytest.mark.release)]
)
def test_the_exported_network_is_the_extractor(where, pictures, tool, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    result = tool("export.py", "--weights", NAME, *where, "--preprocess", "--images", pictures)
    assert result.returncode == 0, result.stderr
    path = tmp_path.joinpath(*where[1:], "mobilenetv2_dcs.onnx")
    assert str(path.relative_to(tmp_path)) in result.stdout
    session = onnxruntime.InferenceSession(path)
    metadata = session.get_modelmeta().custom_metadata_map
    content = {key: json.loads(value) for key, value in metadata.items()}
    assert content["normalizes"] is True
    assert ModelCard.from_dict(content, path) == FeatureExtractor(NAME).card
    files = sorted(pictures.iterdir())[:7]
    pixels = np.stack([read_image(str(file), 64, 32) for file in files])
    (features,) = session.run(["features"], {"images": pixels})
    expected = FeatureExtractor(NAME)(files)
    torch.testing.assert_close(F.normalize(torch.from_numpy(features)), expected, atol=1e-4, rtol=0)


def test_equal_features_have_no_distance():
    """In single precision it would be up to 3e-4, which is more than a tie."""
    features = F.normalize(torch.rand(60, 1280, generator=torch.Generator().manual_seed(0)))
    distances = export._distances(torch.cat([features, features]))  # (120, 120)
    assert distances.diagonal(60).max() < export.TIE / 10


class Other:
    """In place of ONNX Runtime: features that a graph should not give."""

    def __init__(self, graph: object) -> None:
        pass

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4] + torch.tensor([0.0, 0.0, 0.0, self.error])


@pytest.mark.parametrize("error, said", [(1e-2, "differs from PyTorch by"), (np.nan, "differs")])
def test_another_feature_is_not_written(error, said, monkeypatch):
    monkeypatch.setattr(export, "OnnxNetwork", type("Wrong", (Other,), {"error": error}))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity())
    with pytest.raises(InputError, match=f"nothing is written: .*{said}"):
        export.compare(network, None, torch.rand(3, 2, 2))


def test_another_ranking_is_not_written(monkeypatch):
    """Features within the tolerance, and two neighbors in the wrong order."""
    near = torch.tensor([[1.0, 0.0, 0.0], [1.0, 3e-4, 0.0], [1.0, 0.0, 3.4e-4]])
    swapped = near + torch.tensor([[0.0] * 3, [0.0, 5e-5, 0.0], [0.0, 0.0, -5e-5]])
    found = {3: swapped, 1: swapped[:1]}
    monkeypatch.setattr(export, "OnnxNetwork", lambda graph: lambda images: found[len(images)])
    with pytest.raises(InputError, match="ranks images in another order"):
        export.compare(torch.nn.Identity(), None, near)


def test_nothing_is_left_where_the_check_fails(tmp_path, monkeypatch):
    def different(*_: object) -> None:
        raise InputError("nothing is written: ...")

    monkeypatch.setattr(export, "onnx_graph", lambda *_: None)
    monkeypatch.setattr(export, "compare", different)
    with pytest.raises(InputError, match="nothing is written"):
        export.export(NAME, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_becomes_safetensors(tool, tmp_path):
    result = tool("export.py", "--weights", NAME, "--output", "small.safetensors")
    assert result.returncode == 0 and "rounded by" in result.stdout
    assert read_weights(tmp_path / "small.safetensors")["model"]["name"] == "mobilenetv2_dcs"


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package, tool, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("too late"))
    result = tool("export.py", "--weights", NAME, "--output", "model.onnx")
    assert result.returncode == 2
    assert f'{package} is not installed: pip install -e ".[export]"' in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--output", "model.pt"], "must end in .onnx or .safetensors"),
        (["--output", "model"], "--output model: a file ends in .onnx or .safetensors"),
        (["--output", "model.onnx", "--output-dir", "out"], "not allowed with"),
        (["--output", "model.onnx", "--images", "nowhere"], "--images nowhere"),
        (["--output", "model.onnx", "--model", "osnet_x1_0"], "leave --model out"),
        (["--output", "model.onnx", "--height", "a"], "--height: invalid pixels value: 'a'"),
        (["--output", "w.safetensors", "--images", "."], "--images and settings of a graph would"),
        (["--output", "w.safetensors", "--preprocess"], "--images and settings of a graph would"),
    ],
)
def test_mistakes(arguments, said, tool):
    result = tool("export.py", "--weights", NAME, *arguments)
    assert result.returncode == 2 and said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--precision", "int8"], "pass --images DIR"),
        (["--precision", "float16"], "measured loss"),
        (["--precision", "float16", "--root", "reid"], "--root would be ignored"),
        (["--dataset", "folder", "--root", "reid"], "--dataset and --root would be ignored"),
        (["--root", "datasets"], "--root would be ignored: the loss of a reduced precision"),
        (["--images", "nosuch"], "--images nosuch"),
        (["--for", "boxmot", "--preprocess"], "--preprocess"),
        (["--for", "openvino"], "openvino is not installed"),
    ],
)
def test_a_refused_export_leaves_no_folder(arguments, said, tool, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(export, "onnx_graph", lambda *_: pytest.fail("too late"))
    result = tool("export.py", "--weights", NAME, "--output-dir", "new/folder", *arguments)
    assert_refused(result, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["taken", "taken/folder", "folder/m.onnx"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    place, tool, tmp_path, monkeypatch
):
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder/m.onnx").mkdir(parents=True)
    monkeypatch.setattr(export, "onnx_graph", lambda *_: pytest.fail("too late"))
    option = "--output" if place.endswith(".onnx") else "--output-dir"
    result = tool("export.py", "--weights", NAME, option, place)
    assert_refused(result, f"cannot write {place}")


def test_the_folder_of_an_export_is_created(tool, tmp_path):
    result = tool("export.py", "--weights", NAME, "--output", "new/folder/small.safetensors")
    assert result.returncode == 0, result.stderr
    assert read_weights(tmp_path / "new/folder/small.safetensors")["state_dict"]
    graph = SimpleNamespace(SerializeToString=lambda: b"graph")
    export.write_form("boxmot", graph, tmp_path / "other/x.onnx", ModelCard("x"))
    assert (tmp_path / "other/x.onnx").read_bytes() == b"graph"


@pytest.mark.parametrize("name", ["v1.2", "small.onnx"])
def test_a_folder_may_have_any_name(name, tool, tmp_path, monkeypatch):
    def stop(*given):
        raise InputError("asked for a graph")

    monkeypatch.setattr(export, "check_creatable", lambda path: places.append(path))
    monkeypatch.setattr(export, "onnx_graph", stop)
    places = []
    result = tool("export.py", "--weights", NAME, "--output-dir", name)
    assert_refused(result, "asked for a graph")
    assert places == [Path(name) / "mobilenetv2_dcs.onnx"]


def test_an_unreadable_picture_is_named(tool, tmp_path):
    (tmp_path / "people").mkdir()
    Image.new("RGB", (32, 64)).save(tmp_path / "people/a.png")
    (tmp_path / "people/b.jpg").write_bytes(b"")
    result = tool("export.py", "--weights", NAME, "--output", "m.onnx", "--images", "people")
    assert result.returncode == 2 and "b.jpg" in result.stderr


def test_torchreids_weights_need_the_name_of_the_architecture(tool, tmp_path):
    torch.save(build_model("osnet_x0_25", 5).state_dict(), tmp_path / "bare.pth")
    arguments = ("--weights", "bare.pth", "--output", "small.safetensors")
    assert "pass --model NAME" in tool("export.py", *arguments).stderr
    assert tool("export.py", *arguments, "--model", "osnet_x0_25").returncode == 0
    assert FeatureExtractor(tmp_path / "small.safetensors").card.model == "osnet_x0_25"
