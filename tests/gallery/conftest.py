"""A small gallery of generated people, made once."""

import shutil

import pytest
import torch

from reid_dcs import build_model
from reid_dcs.gallery import Gallery

pytest.importorskip("pymilvus", reason="the extra [gallery] is not installed")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights of an untrained network for small images, which tells colors apart."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    content = {
        "state_dict": build_model("mobilenetv2_base", 5).state_dict(),
        "model": {"name": "mobilenetv2_base", "options": {}, "num_classes": 5},
        "preprocessing": {"height": 32, "width": 16},
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="session")
def people(tiny_root, tmp_path_factory):
    """A folder of 36 pictures of 6 generated people under 6 cameras."""
    folder = tmp_path_factory.mktemp("people") / "gallery"
    shutil.copytree(tiny_root / "synthetic/bounding_box_test", folder)
    return folder


@pytest.fixture(scope="session")
def gallery(people, weights, tmp_path_factory):
    """An open gallery of the 36 pictures; tests only read it."""
    path = tmp_path_factory.mktemp("galleries") / "people.db"
    with Gallery.open(path, device="cpu") as found:
        assert found.add(people, weights=weights).added == 36
        yield found


@pytest.fixture
def query(tiny_root):
    return sorted((tiny_root / "synthetic/query").iterdir())[0]
