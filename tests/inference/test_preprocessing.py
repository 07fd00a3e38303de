"""Mean, std and interpolation of a card decide the pixels of everything that runs its network.

The reference is PIL and the formula, an image at a time.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.commands import assert_refused
from helpers.networks import active_model, settle
from PIL import Image

from reid_dcs import FeatureExtractor, InputError, runs
from reid_dcs.config import TrainRun, compose
from reid_dcs.data.datasets import load_dataset
from reid_dcs.inference import export
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.report import Evaluation
from reid_dcs.runs.evaluate import _fingerprint
from reid_dcs.runs.network import build_card
from reid_dcs.visual import affinity, compare
from reid_dcs.visual import windows as window_pictures
from reid_dcs.visual.gradcam import identity_maps
from reid_dcs.weights import ModelCard, Preprocessing

HEIGHT, WIDTH = 48, 24  # the images are larger: they are resized
MEAN, STD = [0.6, 0.3, 0.1], [0.5, 0.1, 0.9]
CARD = ModelCard(
    "mobilenetv2_dcs",
    options={"zero_init": False, "mode": "bilinear", "bounds": "clamp"},
    num_classes=5,
    preprocessing=Preprocessing(HEIGHT, WIDTH, MEAN, STD, "bicubic"),
    trained_on="synthetic",
)


@pytest.fixture(scope="module")
def network():
    return settle(active_model("mobilenetv2_dcs"))


@pytest.fixture
def weights(network, tmp_path):
    return write(tmp_path / "other.pt", network, CARD)


def write(path, network, card):
    torch.save(card.to_dict() | {"state_dict": network.state_dict()}, path)
    return str(path)


@pytest.fixture
def files(tiny_root):
    return sorted((tiny_root / "synthetic/query").iterdir())[:3]


def pixels_by_hand(file):
    """(H, W, 3) uint8."""
    image = Image.open(file).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(image)


def inputs_by_hand(files):
    """(B, 3, H, W)."""
    pixels = np.stack([pixels_by_hand(file) for file in files])
    normalized = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(normalized).permute(0, 3, 1, 2).float()


@torch.no_grad()
def features_by_hand(network, files):
    return F.normalize(network(inputs_by_hand(files)))


def assert_close(found, expected, tolerance=1e-4):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_the_extractor(weights, files, network, tmp_path):
    extractor = FeatureExtractor(weights, device="cpu")
    assert_close(extractor.inputs(files), inputs_by_hand(files))
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    assert_close(extractor.inputs(arrays), inputs_by_hand(files))
    features = extractor(files)
    assert_close(features, features_by_hand(network, files))
    for changed in ({"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"interpolation": "nearest"}):
        card = replace(CARD, preprocessing=replace(CARD.preprocessing, **changed))
        other = FeatureExtractor(write(tmp_path / "changed.pt", network, card), device="cpu")
        assert (other(files) - features).abs().max() > 1e-2


@pytest.mark.parametrize("mapped", [False, True])
def test_an_evaluation(mapped, weights, network, tiny_root, tmp_path):
    for files, features in evaluated_features(weights, tiny_root, tmp_path, mapped):
        # batches of another size round differently, which ReLU6 amplifies
        assert_close(features, features_by_hand(network, files), 2e-3)


@pytest.mark.parametrize("mapped", [False, True])
def test_an_evaluation_with_a_center_crop(mapped, network, tiny_root, tmp_path):
    """It is that of the extractor, whose crop has a test in tests/tasks/classification."""
    card = replace(CARD, preprocessing=replace(CARD.preprocessing, center_crop=0.8))
    weights = write(tmp_path / "crop.pt", network, card)
    extractor = FeatureExtractor(weights, device="cpu")
    for files, features in evaluated_features(weights, tiny_root, tmp_path, mapped):
        assert_close(features, extractor(files), 2e-3)
        assert (features - features_by_hand(network, files)).abs().max() > 1e-2


def evaluated_features(weights, tiny_root, folder, mapped):
    """Files and features, (N, D), of each split, as an evaluation has cached them."""
    (folder / "synthetic").symlink_to(tiny_root / "synthetic")
    data = {"root": str(folder), "mapped": mapped}
    runs.evaluate({"eval": {"weights": weights}, "data": data, "device": "cpu"})
    for split in ("query", "gallery"):
        with np.load(folder / f"features-synthetic-{split}.npz") as archive:
            names, vectors = archive["names"], torch.from_numpy(archive["vectors"])
        yield [folder / "synthetic" / FOLDERS[split] / name for name in names], F.normalize(vectors)


FOLDERS = {"query": "query", "gallery": "bounding_box_test"}


def test_the_fingerprint_of_cached_features_has_the_preprocessing(weights, tiny_root):
    trained = read_trained(weights, {"data": {"root": str(tiny_root)}})
    dataset = load_dataset("synthetic", str(tiny_root), {})

    def fingerprint(**changed):
        preprocessing = replace(CARD.preprocessing, **changed)
        other = trained._replace(card=replace(CARD, preprocessing=preprocessing))
        return _fingerprint(other, dataset, "query", torch.float32)

    first = fingerprint()
    assert first == fingerprint()
    changes = ({"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"interpolation": "nearest"})
    changes += ({"center_crop": 0.8},)
    assert len({first, *(fingerprint(**changed) for changed in changes)}) == 5


@pytest.mark.parametrize("inside", [False, True])
def test_an_export(inside, weights, network, files, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    seen = {}

    def graph(module, example):
        seen["network"] = module
        return onnx.ModelProto()

    def check(module, proto, inputs):
        seen["inputs"] = inputs
        return 0.0

    monkeypatch.setattr(export, "onnx_graph", graph)
    monkeypatch.setattr(export, "compare", check)
    folder = tmp_path / "images"
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file)
    target = export.Target(preprocess=inside)
    path, _ = export.export(weights, tmp_path / "x.onnx", images=folder, target=target)
    if inside:
        assert np.array_equal(seen["inputs"], np.stack([pixels_by_hand(file) for file in files]))
    else:
        assert_close(seen["inputs"], inputs_by_hand(files))
    with torch.no_grad():
        features = F.normalize(seen["network"](seen["inputs"]))
    assert_close(features, features_by_hand(network, files))
    metadata = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert metadata["normalizes"] is inside and ModelCard.from_dict(metadata, path) == CARD


def test_pictures(weights, files, network, tmp_path, monkeypatch):
    compare.gradcam([weights], [str(file) for file in files], str(tmp_path / "out"), identity=2)
    maps, _ = identity_maps(network, inputs_by_hand(files), 2)
    for file, expected in zip(sorted((tmp_path / "out/maps").iterdir()), maps, strict=True):
        np.testing.assert_allclose(np.load(file), expected, rtol=1e-3, atol=1e-5)
    seen = {}
    affinities, selections = affinity.affinities, window_pictures.selections

    def noted_affinities(model, image, points):
        seen["affinity"] = image
        return affinities(model, image, points)

    def noted_selections(model, batches):
        seen["windows"] = torch.cat(batches := [*batches])
        return selections(model, batches)

    monkeypatch.setattr(affinity, "affinities", noted_affinities)
    monkeypatch.setattr(window_pictures, "selections", noted_selections)
    for picture in ("affinity", "windows"):
        getattr(compare, picture)([weights], [str(files[0])], str(tmp_path / "out"))
        assert_close(seen[picture], inputs_by_hand(files[:1]))


def test_a_report(network, files, tmp_path):
    parts = dict.fromkeys(Evaluation.__dataclass_fields__)
    done = Evaluation(**parts | {"model": network, "preprocessing": CARD.preprocessing})
    assert_close(done.inputs([str(file) for file in files]), inputs_by_hand(files))
    crop = replace(CARD.preprocessing, center_crop=0.8)
    cropped = write(tmp_path / "crop.pt", network, replace(CARD, preprocessing=crop))
    found = replace(done, preprocessing=crop).inputs([str(file) for file in files])
    assert_close(found, FeatureExtractor(cropped, device="cpu").inputs(files))


def test_sizes_of_the_user_override_the_cards(weights):
    trained = read_trained(weights, {"data": {"height": 96}})
    assert (trained.card.preprocessing.height, trained.card.preprocessing.width) == (96, WIDTH)
    assert trained.card.preprocessing.mean == MEAN
    assert load_trained(trained, torch.device("cpu")).training is False


def test_training_writes_what_it_used():
    settings = {"model": {"name": "mobilenetv2_sa"}, "data": {"height": 128, "width": 64}}
    config = compose(TrainRun, settings)
    card = build_card(config, 7)
    assert card.preprocessing == Preprocessing(
        128, 64, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "bilinear"
    )
    assert (card.model, card.num_classes, card.task) == ("mobilenetv2_sa", 7, "reid")
    assert card.trained_on == "synthetic" and card.command


def test_weights_of_another_task_are_refused(network, tool, tmp_path):
    path = write(tmp_path / "other.pt", network, replace(CARD, task="classification"))
    expected = "other.pt was trained for the task 'classification', not 'reid'"
    with pytest.raises(InputError, match=expected):
        FeatureExtractor(path)
    assert_refused(tool("eval_reid.py", "--weights", path), expected)
    path = write(tmp_path / "other.pt", network, replace(CARD, task="depth"))
    expected = "other.pt was trained for the task 'depth', not 'reid' or 'classification'"
    assert_refused(tool("export.py", "--weights", path, "--output", "x.safetensors"), expected)


def test_a_wrong_card_is_refused_in_one_line(network, tool, tmp_path):
    content = CARD.to_dict() | {"state_dict": network.state_dict()}
    content["preprocessing"]["std"] = [0.2, 0.0, 0.2]
    torch.save(content, tmp_path / "strange.pt")
    expected = ("strange.pt: wrong model card", "preprocessing.std", "--model NAME")
    assert_refused(tool("eval_reid.py", "--weights", "strange.pt"), *expected)
    given = ("--weights", "strange.pt", "--images", "x.jpg", "--output-dir", "out")
    assert_refused(tool("gradcam.py", *given), *expected)
