"""What the tests of image classification share."""

import pytest
from helpers.small_pictures import register_tiny, write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Folder of a small data set of four classes."""
    return write_pictures(tmp_path_factory.mktemp("data") / "colors")


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone():
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(patch)
        yield


@pytest.fixture(scope="module")
def job(pictures):
    """Settings of a run of a second."""
    return {
        "model": {"name": "tiny_dcs"},
        "device": "cpu",
        "data": {
            "root": str(pictures),
            "height": 16,
            "width": 16,
            "batch_size": 8,
            "workers": 0,
            "padding": 2,
            "crop_scale": 0.5,
        },
        "train": {"epochs": 3, "learning_rate": 0.02, "warmup_epochs": 0},
        "eval": {"batch_size": 8},
    }
