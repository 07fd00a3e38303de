"""Settings of a search that the tests of runs share."""

import pytest


@pytest.fixture(scope="package")
def settings(tiny_root):
    return {
        "model": {"name": "mobilenetv2_dcs_sw"},
        "data": {"root": str(tiny_root), "height": 64, "width": 32, "batch_size": 16},
        "train": {"epochs": 2},
        "search": {"epochs": 2, "calibration": 24},
        "device": "cpu",
        "resume": "auto",
    }
