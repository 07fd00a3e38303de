"""What runs of detection refuse, in one line and before anything is written."""

from contextlib import nullcontext

import pytest
from helpers.detection_run import settings, tiny_scenes

from reid_dcs import InputError, cli
from reid_dcs.cli import main
from reid_dcs.tasks.detection import search, train
from reid_dcs.tasks.detection.data.annotations import AnnotatedImage, Annotations
from reid_dcs.tasks.detection.data.find import check_outside_split


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"frozen_stages": 5}}, "train.frozen_stages"),
        ({"train": {"margin": 0.1}}, "detect train would ignore train.margin"),
        ({"data": {"name": "market1501"}}, "data.name"),
        ({"data": {"sizes": [8]}}, "data.sizes"),
        ({"data": {"sizes": []}}, "data.sizes: give one size or more"),
        ({"model": {"options": {"channels": "abc"}}}, "channels must be a whole number"),
        ({"model": {"options": {"channels": 0}}}, "channels must be a whole number"),
        ({"model": {"options": {"hidden": 1.5}}}, "hidden must be a whole number"),
        ({"model": {"options": {"hidden": -1}}}, "hidden must be a whole number"),
        ({"model": {"options": {"samples": 0}}}, "samples must be a whole number"),
        ({"model": {"options": {"samples": -3}}}, "samples must be a whole number"),
        ({"train": {"compile": True}}, "train.compile: images of detection differ in size"),
        ({"train": {"capture": True}}, "train.capture: images of detection differ in size"),
        ({"search": {"epochs": 2}}, "detect train would ignore search.epochs"),
    ],
)
def test_wrong_settings_are_named(root, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(settings(root, tmp_path / "out", changes))
    assert not (tmp_path / "out").exists()


def test_a_search_of_a_backbone_is_refused_before_anything_is_written(tmp_path):
    given = settings(tmp_path / "data", tmp_path / "out") | {"model": {"name": "fbnetv2_dcs"}}
    with pytest.raises(InputError, match="fbnetv2_dcs is searched by reid-dcs search"):
        search(given)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("run", [train, search])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"sizes": []}}, "data.sizes: give one size or more"),
        ({"model": {"options": {"samples": 0}}}, "samples must be a whole number"),
    ],
)
def test_wrong_sizes_are_refused_before_anything_is_read(tmp_path, run, changes, message):
    given = settings(tmp_path / "absent", tmp_path / "out", changes)
    with pytest.raises(InputError, match=message):
        run(given)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("run", [train, search])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("scenes", "scenes"),
        ("scenes", "scenes/out"),
        ("coco", "scenes/images"),
        ("coco", "scenes/images/x"),
        ("coco", "scenes/annotations/x"),
        ("coco", "link"),
    ],
)
def test_an_output_folder_among_the_data_is_refused(tmp_path, run, name, place):
    root = tiny_scenes(tmp_path)
    (root / "link").symlink_to(root / "scenes/images/val")
    before = sorted(tmp_path.rglob("*"))
    changes = {"data": {"name": name, "root": str(root / "scenes" if name == "coco" else root)}}
    with pytest.raises(InputError, match=f"{place} is in .*, a folder of the data set"):
        run(settings(root, root / place, changes))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("images", "refused", "accepted"),
    [
        (["images/train/1.jpg"], ["images", "images/val"], ["out", "image", "."]),
        (["train2017/a/1.jpg", "far/1.jpg"], ["train2017/b", "far", "elsewhere/x"], ["elsewhere2"]),
        (["1.jpg"], [".", "out"], ["../out"]),
    ],
)
def test_folders_of_images_depend_on_the_layout(tmp_path, images, refused, accepted):
    root = tmp_path / "coco"
    (root / "elsewhere").mkdir(parents=True)
    (root / "far").symlink_to(root / "elsewhere")
    listed = [AnnotatedImage(i, root / name, 9, 9) for i, name in enumerate(images)]
    found = Annotations(root / "annotations/instances_val.json", [], listed, {})
    for place in [*refused, "annotations/x"]:
        with pytest.raises(InputError, match="a folder of the data set"):
            check_outside_split(root / place, "coco", found)
    for place in accepted:
        check_outside_split(root / place, "coco", found)


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Status, stdout and stderr of the command."""
    with pytest.raises(SystemExit) as stopped:
        main(["detect", *map(str, arguments)])
    return (stopped.value.code, *capsys.readouterr())


def test_the_commands_answer_in_one_line_and_check_counts(root, tmp_path, capsys):
    status, out, _ = run(capsys, "check", "--dataset", "scenes", "--root", root)
    assert status == 0 and "6 images" in out and "3 images" in out
    missing = tmp_path / "none.pt"
    for arguments, said in (
        (["check", "--root", tmp_path], "instances_train"),
        (["train", "--dataset", "coco", "--root", tmp_path, "device=cpu"], "instances_train"),
        (["eval", "--root", root], "--weights"),
        (["eval", "--root", root, "--weights", missing], "none.pt"),
        (
            ["predict", "--weights", missing, "--images", root, "--output-dir", tmp_path / "o"],
            "none.pt",
        ),
        (
            [
                "predict",
                "--weights",
                "mobilenetv2_dcs_synthetic",
                "--images",
                root,
                "--output-dir",
                tmp_path / "o",
            ],
            "trained for the task 'reid', not 'detection'",
        ),
        (["train", "data.nme=coco"], "data.nme"),
        (["fly"], "fly"),
    ):
        status, _, err = run(capsys, *arguments)
        assert status == 2 and len(err.splitlines()) == 1 and said in err, err
    assert [*tmp_path.iterdir()] == []
    status, out, _ = run(capsys, "--help")
    assert status == 0 and "predict" in out


@pytest.mark.parametrize(("action", "keeps_running"), [("check", False), ("train", True)])
def test_a_check_that_nobody_could_read_has_failed(action, keeps_running, monkeypatch):
    """A training's results are files; those of a check are what it prints."""
    ways = []
    monkeypatch.setattr(cli, "_run", lambda given: None)
    monkeypatch.setattr(cli, "command", lambda **how: ways.append(how) or nullcontext())
    main(["detect", action])
    assert ways == [{"debug": False, "keep_running": keeps_running}]
