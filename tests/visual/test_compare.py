"""The picture commands, as a user types them."""

import numpy as np
import pytest
import torch
from helpers.commands import assert_refused
from PIL import Image

from reid_dcs import build_model
from reid_dcs.config import TrainRun, compose, to_layer
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.models import build_classifier
from reid_dcs.visual import compare, pages
from reid_dcs.visual.gradcam import identity_maps


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Checkpoints of ours that are not trained, by attention."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for kind in ("base", "sa", "dcs"):
        torch.manual_seed(0)
        name = f"mobilenetv2_{kind}"
        content = {
            "state_dict": build_model(name, 5).state_dict(),
            "model": {"name": name, "options": {}, "num_classes": 5},
            "preprocessing": {"height": 64, "width": 32},
            "config": to_layer(compose(TrainRun, {"model": {"name": name}})),
            "epoch": 3,
        }
        made[kind] = folder / f"{kind}.pt"
        torch.save(content, made[kind])
    return made


@pytest.fixture
def folder(tiny_root, tmp_path):
    """Ten images, more than a page of Grad-CAM has."""
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((tiny_root / "synthetic/query").iterdir())[:10]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("no image")
    return folder


def test_grad_cam_of_a_folder_has_pages_and_maps(tool, folder, weights, tmp_path):
    both = ("--weights", weights["base"], "--weights", weights["dcs"])
    result = tool("gradcam.py", *both, "--images", folder, "--output-dir", "out")
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.png")) == [
        "gradcam-001.png",
        "gradcam-002.png",
    ]
    wide, narrow = (Image.open(path).size for path in sorted(out.glob("*.png")))
    assert wide[0] == narrow[0] and wide[1] > narrow[1] > 0  # eight rows, two rows
    maps = sorted((out / "maps").iterdir())
    assert len(maps) == 20
    heat = np.load(maps[0])
    assert heat.shape == (4, 2) and heat.min() >= 0


def test_networks_of_one_title_are_told_apart(weights):
    dcs, base = str(weights["dcs"]), str(weights["base"])
    _, titles = pages.open_networks([dcs, base, dcs], None)
    assert titles[1] == "mobilenetv2_base\nsynthetic, epoch 3"
    assert titles[0].endswith(str(weights["dcs"].relative_to(weights["dcs"].parents[2])))


def test_a_pair_explains_an_unknown_person(tool, folder, weights, tmp_path):
    first, second, *_ = sorted(folder.glob("*.jpg"))
    state = torch.load(weights["dcs"], weights_only=True)
    del state["state_dict"]["classifier.weight"]
    torch.save(state, tmp_path / "headless.pt")
    given = ("--weights", tmp_path / "headless.pt", "--images", first, "--output-dir", "out")
    assert_refused(tool("gradcam.py", *given), "no classifier", "--pair")
    assert not (tmp_path / "out").exists()
    assert tool("gradcam.py", *given, "--pair", second).returncode == 0
    assert (tmp_path / "out/gradcam-001.png").stat().st_size > 1000


@pytest.mark.slow
def test_affinity_and_windows(tool, folder, weights, tmp_path):
    image = next(folder.glob("*.jpg"))
    both = ("--weights", weights["sa"], "--weights", weights["dcs"])
    given = ("--images", image, "--output-dir", "out")
    assert tool("channels.py", "affinity", *both, *given, "--at", "3,9").returncode == 0
    assert tool("channels.py", "windows", *both, *given).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "affinity-001.png",
        "channels-1.png",
        "channels-2.png",
        "windows-001.png",
        "windows-002.png",
    ]


@pytest.mark.parametrize(
    "command, arguments, said",
    [
        ("gradcam.py", ["--images", "absent.jpg"], ["no image or folder at absent.jpg"]),
        ("gradcam.py", ["--images", "empty"], ["no images in", "empty"]),
        ("gradcam.py", ["--images", "torn.jpg"], ["torn.jpg", "unreadable or truncated"]),
        ("gradcam.py", ["--layer", "trunk.stage.4"], ["no layer", "trunk.stages.4"]),
        ("gradcam.py", ["--identity", "5"], ["--identity 5", "0 to 4"]),
        ("gradcam.py", ["--identity", "1", "--pair", "images"], ["pass one of them"]),
        ("gradcam.py", ["--pair", "images"], ["--pair images is a folder"]),
        ("gradcam.py", ["--weights", "absent.pt"], ["absent.pt"]),
        ("gradcam.py", ["--color", "red"], ["--color"]),
        ("channels.py affinity", ["--at", "500,3"], ["500,3 is outside"]),
        ("channels.py affinity", ["--at", "here"], ["--at", "here"]),
        ("channels.py affinity", ["--grid", "0x2"], ["--grid", "0x2"]),
        ("channels.py affinity", ["--grid", "1000x1000"], ["--grid 1000x1000", "at most 64"]),
        ("channels.py affinity", ["--grid", "13x5"], ["--grid 13x5", "at most 64"]),
        ("channels.py affinity", ["--at", "1,1"] * 65, ["--at", "at most 64"]),
        ("channels.py windows", ["--grid", "2x2"], ["are for affinity"]),
        ("channels.py colors", [], ["colors"]),
    ],
)
def test_mistakes(tool, folder, weights, tmp_path, command, arguments, said):
    (tmp_path / "empty").mkdir()
    torn = next(folder.glob("*.jpg")).read_bytes()
    (tmp_path / "torn.jpg").write_bytes(torn[: len(torn) // 2])
    if "--images" not in arguments:
        arguments = ["--images", folder, *arguments]
    given = ("--weights", weights["dcs"], "--output-dir", "out", *arguments)
    assert_refused(tool(*command.split(), *given), *said)
    assert not (tmp_path / "out").exists()


def test_as_many_positions_as_there_may_be(folder, weights, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "reid_dcs.visual.affinity.draw_affinities", lambda _, p, *a: drawn.append(p)
    )
    monkeypatch.setattr(pages, "save_figure", lambda *given: None)
    given = [str(weights["dcs"])], [str(next(folder.glob("*.jpg")))], "out"
    compare.affinity(*given, grid=(8, 8))
    compare.affinity(*given, at=[(1, 1)] * 64)
    compare.affinity(*given, at=[(1, 1)], grid=(1000, 1000))  # without a use
    assert [len(points) for points in drawn] == [64, 64, 1]


@pytest.mark.parametrize("output", ["images", "images/out", "images/../images/a/b", "link/out"])
@pytest.mark.parametrize("command", ["gradcam.py", "channels.py affinity", "channels.py windows"])
def test_no_picture_is_written_among_the_images(tool, folder, weights, tmp_path, command, output):
    (tmp_path / "link").symlink_to(folder)
    before = sorted(folder.rglob("*"))
    given = ("--weights", weights["dcs"], "--images", folder, "--output-dir", output)
    assert_refused(tool(*command.split(), *given), f"{output} is in", "a folder given to --images")
    assert sorted(folder.rglob("*")) == before


def test_a_network_without_attention(tool, folder, weights, tmp_path):
    given = ("--weights", weights["base"], "--images", folder, "--output-dir", "out")
    given = ("--weights", weights["dcs"], *given)
    assert_refused(tool("channels.py", "windows", *given), "base.pt has no attention")
    assert_refused(tool("channels.py", "affinity", *given), "base.pt has no attention")
    assert not (tmp_path / "out").exists()


def test_a_point_outside_a_later_image_is_refused_before_the_first_page(
    tool, folder, weights, tmp_path
):
    Image.new("RGB", (8, 8)).save(folder / "z.png")
    given = ("--weights", weights["dcs"], "--images", folder, "--output-dir", "out")
    assert_refused(tool("channels.py", "affinity", *given, "--at", "9,3"), "outside", "z.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("identity", [None, 3])
def test_a_map_is_captioned_with_the_identity_that_it_explains(
    folder, weights, tmp_path, monkeypatch, identity
):
    drawn = []
    monkeypatch.setattr(
        "reid_dcs.visual.gradcam.draw_heat_maps", lambda *given: drawn.append(given[3])
    )
    monkeypatch.setattr(pages, "save_figure", lambda *given: None)
    images = [str(file) for file in sorted(folder.glob("*.jpg"))[:3]]
    compare.gradcam([str(weights["dcs"])], images, str(tmp_path / "out"), identity=identity)
    network = FeatureExtractor(weights["dcs"])
    _, predicted = identity_maps(network.model, network.inputs(images))
    expected = [f"identity {label}" for label in predicted]
    if identity is not None:
        expected = [
            f"identity 3 (predicted: {label})" if label != 3 else "identity 3"
            for label in predicted
        ]
    assert drawn == [[(name,) for name in expected]]


def test_a_class_that_a_network_lacks_is_called_a_class(tool, folder, tmp_path):
    content = {
        "state_dict": build_classifier("mobilenetv2_base", 3).state_dict(),
        "model": {"name": "mobilenetv2_base", "options": {}, "num_classes": 3},
        "preprocessing": {"height": 64, "width": 32},
        "task": "classification",
    }
    torch.save(content, tmp_path / "classes.pt")
    given = ("--weights", "classes.pt", "--images", folder, "--output-dir", "out", "--class", 7)
    assert_refused(tool("gradcam.py", *given), "--class 7: classes.pt has classes 0 to 2")
