"""What runs of detection refuse, in one line and before anything is written."""

import pytest
from helpers.detection_run import settings

from reid_dcs import InputError
from reid_dcs.cli import main
from reid_dcs.tasks.detection import search, train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"frozen_stages": 5}}, "train.frozen_stages"),
        ({"train": {"margin": 0.1}}, "detect train would ignore train.margin"),
        ({"data": {"name": "market1501"}}, "data.name"),
        ({"data": {"sizes": [8]}}, "data.sizes"),
        ({"train": {"compile": True}}, "train.compile: images of detection differ in size"),
        ({"train": {"capture": True}}, "train.capture: images of detection differ in size"),
        ({"search": {"epochs": 2}}, "detect train would ignore search.epochs"),
    ],
)
def test_wrong_settings_are_named(root, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(settings(root, tmp_path / "out", changes))
    assert not (tmp_path / "out").exists()


def test_a_search_of_a_backbone_is_refused_before_anything_is_written(root, tmp_path):
    given = settings(root, tmp_path / "out") | {"model": {"name": "fbnetv2_dcs"}}
    with pytest.raises(InputError, match="fbnetv2_dcs is searched by reid-dcs search"):
        search(given)
    assert not (tmp_path / "out").exists()


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
