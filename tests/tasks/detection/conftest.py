"""Three small scenes, which the tests of runs share."""

import pytest
from helpers.detection_run import tiny_scenes


@pytest.fixture(scope="package")
def root(tmp_path_factory):
    return tiny_scenes(tmp_path_factory.mktemp("data"))
