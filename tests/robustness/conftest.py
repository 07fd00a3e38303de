"""A small folder of a user."""

import pytest
from helpers.folders import write


@pytest.fixture
def root(tmp_path):
    """Query and gallery of one person, and two to train on."""
    write(
        tmp_path, "train/1_c1.jpg", "train/2_c1.jpg", "train/1_c2.jpg", "query/3_c1.jpg",
        "gallery/3_c2.jpg", "gallery/4_c1.jpg",
    )  # fmt: skip
    return tmp_path
