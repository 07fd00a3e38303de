"""Exports for BoxMOT, ultralytics and OpenVINO, and of reduced precision."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.commands import assert_refused

from reid_dcs import FeatureExtractor, InputError
from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.files import written_whole
from reid_dcs.inference import forms
from reid_dcs.inference.forms import boxmot_metadata, check_form, form_inputs, form_metadata
from reid_dcs.inference.reduced import labeled_set
from reid_dcs.weights import ModelCard, Preprocessing

NAME = "mobilenetv2_dcs_synthetic"


@pytest.fixture(scope="module")
def crops():
    """Three generated people at the input size: (3, 64, 32, 3) uint8, RGB."""
    random = np.random.default_rng(0)
    return np.stack(
        [
            photograph(sample_person(random), camera, random, height=64, width=32)
            for camera in CAMERAS[:3]
        ]
    )


def test_an_interrupted_openvino_export_leaves_no_mixed_pair_and_can_be_repeated(
    tmp_path, monkeypatch
):
    def save_model(model, path, compress_to_fp16):
        path.write_text(f"graph of {model}")
        path.with_suffix(".bin").write_text(f"weights of {model}")

    def stopped(path):
        if path.suffix == ".xml":
            raise KeyboardInterrupt
        return written_whole(path)

    openvino = SimpleNamespace(
        convert_model=lambda source: source.read_text(), save_model=save_model
    )
    monkeypatch.setattr(forms, "extra", lambda *given: openvino)
    path = tmp_path / "m.xml"

    def write(name):
        graph = SimpleNamespace(SerializeToString=name.encode)
        forms.write_form("openvino", graph, path, ModelCard("x"))
        return {each.name: each.read_text() for each in tmp_path.iterdir()}

    write("one")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(forms, "written_whole", stopped)
        write("two")
    assert [each.name for each in tmp_path.iterdir()] == ["m.bin"]
    assert write("three") == {"m.xml": "graph of three", "m.bin": "weights of three"}


def test_ultralytics_metadata_are_one_key_of_ours_and_its_args():
    card = ModelCard("mobilenetv2_base")
    metadata = form_metadata("ultralytics", card, True, {})
    assert metadata.keys() == {"reid_dcs", "args"}  # others would become attributes of its backend
    assert metadata["args"] == "{'dynamic': True, 'nms': False}"
    assert ModelCard.from_dict(json.loads(metadata["reid_dcs"]), "x") == card


def test_fractions_are_the_pixels_that_were_normalized():
    card = ModelCard("x", preprocessing=Preprocessing(4, 2, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]))
    fractions = torch.rand(2, 3, 4, 2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.4, 0.5, 0.6], [0.1, 0.2, 0.3]))
    normalized = (fractions - mean) / std
    torch.testing.assert_close(form_inputs("ultralytics", normalized, card), fractions)
    assert form_inputs("boxmot", normalized, card) is normalized


def test_boxmot_is_refused_other_statistics_and_told_the_input_size():
    card = ModelCard("x", preprocessing=Preprocessing(96, 48, mean=[0.5, 0.5, 0.5]))
    with pytest.raises(InputError, match="ImageNet's mean and std"):
        check_form("boxmot", card, False)
    with pytest.raises(InputError, match="--preprocess.*openvino"):
        check_form("openvino", ModelCard("x"), True)
    assert boxmot_metadata(card)["img_size"] == [96, 48]


def test_labels_of_the_measured_set_come_from_names(tmp_path):
    images = [tmp_path / name for name in ("0001_c1.jpg", "0001_c2.jpg", "0002.jpg")]
    labeled = labeled_set(None, "", images)
    assert [item[1:] for item in labeled.query] == [(1, 1), (1, 2), (2, -3)]
    assert labeled.gallery == labeled.query
    junk = [tmp_path / name for name in ("-1_c1.jpg", "0000_c2.jpg", "0000_c3.jpg")]
    with_junk = labeled_set(None, "", images + junk)
    assert with_junk.query == labeled.query
    assert [item[1:] for item in with_junk.gallery] == [(1, 1), (1, 2), (2, -3), (0, 2), (0, 3)]
    with pytest.raises(InputError, match="--dataset NAME --root DIR"):
        labeled_set(None, "", [tmp_path / "a.jpg", tmp_path / "b.jpg"])


def test_a_reduced_precision_needs_a_set_and_int8_images(tool, tmp_path):
    given = ("export.py", "--weights", NAME, "--output", "x.onnx", "--precision")
    assert_refused(tool(*given, "float16"), "measured loss", "--dataset")
    assert_refused(tool(*given, "int8", "--dataset", "synthetic"), "--images DIR")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["boxmot", pytest.param("ultralytics", marks=pytest.mark.release)])
def test_the_extractor_runs_the_graph_of_each_form(form, crops, tool, tmp_path):
    result = tool("export.py", "--weights", NAME, "--for", form, "--output", "x.onnx")
    assert result.returncode == 0, result.stderr
    expected = FeatureExtractor(NAME, device="cpu")(crops)
    found = FeatureExtractor(tmp_path / "x.onnx")(crops)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (tmp_path / "x.onnx.metadata.json").exists() == (form == "boxmot")


@pytest.mark.slow
def test_openvino_runs_its_graph_at_another_size(tool, tmp_path):
    openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    size = ("--height", 96, "--width", 48)
    result = tool("export.py", "--weights", NAME, "--for", "openvino", *size, "--output", "x.xml")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    network = FeatureExtractor(NAME, height=96, width=48, device="cpu")
    images = torch.randn(3, 3, 96, 48)
    model = openvino.Core().compile_model(tmp_path / "x.xml", "CPU")
    features = torch.from_numpy(model(images.numpy())[0])
    found = torch.nn.functional.normalize(features)
    torch.testing.assert_close(found, network(images), atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [pytest.param("float16", marks=pytest.mark.release), "int8"])
def test_a_reduced_graph_is_written_with_its_loss(precision, crops, tiny_root, tool, tmp_path):
    images = tiny_root / "synthetic/bounding_box_test"
    given = ("--precision", precision, "--images", images, "--output", "x.onnx")
    result = tool("export.py", "--weights", NAME, *given)
    assert result.returncode == 0, result.stderr
    assert f"{precision}: mAP" in result.stdout and "in float32" in result.stdout
    onnx = pytest.importorskip("onnx", reason="the extra [export] is not installed")
    graph = onnx.load(tmp_path / "x.onnx")
    loss = json.loads({p.key: p.value for p in graph.metadata_props}["precision"])
    assert loss["name"] == precision and abs(loss["mAP"] - loss["mAP_float32"]) < 0.05
    expected = FeatureExtractor(NAME, device="cpu")(crops)
    similarity = (FeatureExtractor(tmp_path / "x.onnx")(crops) * expected).sum(1)
    assert similarity.min() > (0.999 if precision == "float16" else 0.8)


BOXMOT = """
import json, sys
import numpy as np, torch
from pathlib import Path
from boxmot.reid.backends.onnx_backend import ONNXBackend
ONNXBackend._ensure_onnxruntime_installed = lambda self: None  # it would install packages
backend = ONNXBackend(Path(sys.argv[1]), torch.device("cpu"), False)
image = np.load(sys.argv[2])
boxes = np.array([[40 * i, 0, 40 * i + 32, 64] for i in range(3)], float)
np.save(sys.argv[3], backend.get_features(boxes, image))
"""
ULTRALYTICS = """
import sys
import numpy as np, torch
from ultralytics.trackers.utils.reid import ReID
reid = ReID(sys.argv[1], device="cpu")
image = np.load(sys.argv[2])
crops = [image[:64, 40 * i : 40 * i + 32] for i in range(3)]  # without the margin that it adds
features = reid.model(reid._crops_to_tensor(crops))
np.save(sys.argv[3], features[0] if isinstance(features, list) else features)
"""


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.parametrize("form, code", [("boxmot", BOXMOT), ("ultralytics", ULTRALYTICS)])
def test_the_tracker_itself_gets_the_extractors_features(form, code, crops, tool, tmp_path):
    """In an environment of its own, of the Python REID_DCS_TRACKERS: trackers install packages."""
    python = os.environ.get("REID_DCS_TRACKERS")
    if not python or python == sys.executable:
        pytest.skip("REID_DCS_TRACKERS names no Python of an environment with boxmot, ultralytics")
    result = tool("export.py", "--weights", NAME, "--for", form, "--output", "x.onnx")
    assert result.returncode == 0, result.stderr
    image = np.zeros((64, 120, 3), np.uint8)
    for i, crop in enumerate(crops):
        image[:, 40 * i : 40 * i + 32] = crop[:, :, ::-1]  # BGR
    np.save(tmp_path / "image.npy", image)
    files = (tmp_path / "x.onnx", tmp_path / "image.npy", tmp_path / "features.npy")
    switches = {"YOLO_AUTOINSTALL": "false", "PIP_NO_INDEX": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | switches
    environment["YOLO_CONFIG_DIR"] = str(tmp_path)
    ran = subprocess.run(
        [python, "-c", code, *files], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    found = torch.nn.functional.normalize(torch.from_numpy(np.load(files[2])).float())
    expected = FeatureExtractor(NAME, device="cpu")(crops)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
