"""Three small scenes, and one training on them that the tests of runs share."""

import pytest
from helpers.detection_run import settings, tiny_scenes

from reid_dcs.tasks.detection import train


@pytest.fixture(scope="package")
def root(tmp_path_factory):
    return tiny_scenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="package")
def trained(root, tmp_path_factory):
    """The output folder of a training of two epochs with a moving average."""
    output = tmp_path_factory.mktemp("run") / "out"
    metrics = train(settings(root, output, {"train": {"epochs": 2, "ema": 0.5}}))
    return output, metrics
