"""Two short epochs of the recipe for CIFAR-10, on real images."""

import json
import zipfile

import pytest
import torch

from reid_dcs.cli import main
from reid_dcs.tasks.classification import runs

TRAIN, TEST = 24, 8  # images of each class


@pytest.fixture(scope="module")
def cifar10(shared, tmp_path_factory):
    """The first images of every class of CIFAR-10."""
    root = tmp_path_factory.mktemp("cifar10")
    for split, count in (("train", TRAIN), ("test", TEST)):
        archive = shared / f"data/cifar10/cifar10_{split}.zip"
        if not archive.is_file():
            pytest.skip("no CIFAR-10 under REID_DCS_SHARED")
        with zipfile.ZipFile(archive) as file:
            wanted = [n for n in file.namelist() if n.endswith(".jpg") and _number(n) < count]
            file.extractall(root, wanted)
    return root / "cifar10"


def _number(name):
    return int(name.rpartition("/")[2].removesuffix(".jpg"))


@pytest.mark.slow
def test_its_recipe_searches_trains_and_is_evaluated_again(cifar10, tmp_path, request):
    config = request.config.rootpath / "configs/classification/cifar10.yaml"
    short = ["search.epochs=2", "train.epochs=2", "data.batch_size=24", "search.calibration=16"]
    # ten steps an epoch, of small batches, need smaller steps
    short += ["train.learning_rate=0.01", "search.weight_optimizer.learning_rate=0.01"]
    output = ["--output-dir", str(tmp_path), "--root", str(cifar10), "device=cpu"]
    main(["classify", "search", "--config-file", str(config), *output, *short])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["num_classes"], metrics["num_images"]) == (10, 10 * TEST)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    history = content["history"]
    assert len(history) == 2 and all(entry["loss"] < 3 for entry in history)  # chance is 2.3
    assert set(json.loads((tmp_path / "windows.json").read_text())["blocks"]) == {
        f"trunk.attentions.{stage}" for stage in (1, 2, 4, 6)
    }
    weights = {"weights": str(tmp_path / "checkpoint.pt")}
    data = {"root": str(cifar10), "workers": 0}
    found = runs.evaluate({"eval": weights, "data": data, "device": "cpu"})
    assert found["top1"] == metrics["top1"] and found["confusions"] == metrics["confusions"]
