"""The README's first line: what it learns, and that color alone does not."""

import pytest
import torch

from reid_dcs import runs
from reid_dcs.config import TrainRun, compose
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.store import ImageStore
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.evaluation import evaluate_features
from reid_dcs.runs.data import build_manager
from reid_dcs.runs.network import build_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """metrics.json of the default run."""
    output = str(tmp_path_factory.mktemp("demo"))
    return runs.train({"data": {"root": root}, "output_dir": output, "device": "cpu"})


def test_the_demonstration_learns_people_it_has_not_seen(trained):
    assert trained["mAP"] > 0.6 and trained["rank1"] > 0.7


def test_an_untrained_network_is_near_chance(root, trained):
    torch.manual_seed(0)
    config = compose(TrainRun, {"data": {"root": root}, "device": "cpu"})
    dataset, device = load_dataset("synthetic", root), torch.device("cpu")
    manager = build_manager(config, dataset, device)
    model = build_network(config, dataset.num_train_pids, device)
    untrained = ReIDEngine(manager, model).test()["synthetic"]
    assert untrained.mAP < 0.1 < trained["mAP"] / 5


def test_mean_color_is_far_below_the_trained_network(root, trained):
    dataset = load_dataset("synthetic", root)
    query, gallery = (
        ImageStore.decode(items, 64, 32, "color") for items in (dataset.query, dataset.gallery)
    )
    matched = evaluate_features(
        query.images.float().mean((1, 2)),
        gallery.images.float().mean((1, 2)),
        query.pids.numpy(),
        gallery.pids.numpy(),
        query.camids.numpy(),
        gallery.camids.numpy(),
        "euclidean",
    )
    assert matched.mAP < trained["mAP"] / 3
