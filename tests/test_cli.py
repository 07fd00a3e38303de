"""The commands, as a user types them: status 2 and one line for every mistake."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from helpers.commands import assert_refused

from reid_dcs import build_model

SMALL = "data.batch_size=16"


@pytest.fixture
def market(tiny_root, tmp_path):
    """A copy of the generated set that a test may damage, read as Market-1501."""
    root = tmp_path / "data"
    shutil.copytree(tiny_root / "synthetic", root / "Market-1501-v15.09.15")
    return root / "Market-1501-v15.09.15"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--dataset", "market1501", "--root", "nowhere"], ["Market-1501 is not under", "--root"]),
        (["train.epoch=3"], ["train.epoch", "Did you mean: 'epochs'?"]),
        (["train.epochs=many"], ["train.epochs", "could not be converted to Integer"]),
        (["--model", "mobilenetv2_dsc"], ["unknown model 'mobilenetv2_dsc'", "mobilenetv2_dcs"]),
        (["--dataset", "ducks"], ["unknown data set 'ducks'"]),
        (["--config-file", "absent.yaml"], ["absent.yaml", "No such file"]),
        (["--modell", "x"], ["unrecognized arguments: --modell"]),
        (["oops"], ["expected key=value, not 'oops'"]),
        (["device=cuda"], ["no CUDA device"]),
        (["resume=absent.pt"], ["no weights at", "absent.pt"]),
    ],
)
def test_mistakes_in_settings(tool, tmp_path, arguments, said):
    if arguments == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert_refused(tool("train_reid.py", *arguments), *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, said",
    [
        (["model.options.window=1"], ["mobilenetv2_dcs", "window"]),
        (["model.options.mode=sharp"], ["mode must be one of", "sharp"]),
        (["model.pretrained=absent.pth"], ["no weights at", "absent.pth"]),
        (["data.batch_size=31"], ["data.batch_size=31 is not a positive multiple"]),
        (["data.batch_size=400"], ["cannot fill one batch"]),
    ],
)
def test_mistakes_that_show_beside_the_data(tool, tiny_root, tmp_path, options, said):
    assert_refused(tool("train_reid.py", "--root", tiny_root, *options), *said)
    assert list(tmp_path.iterdir()) == []


def test_bad_images_are_refused_before_training(tool, market):
    files = sorted((market / "bounding_box_train").iterdir())
    files[3].write_bytes(b"")
    with open(files[7], "rb+") as file:
        file.truncate(500)
    result = tool("train_reid.py", "--dataset", "market1501", "--root", market)
    assert_refused(result, "2 unreadable", files[3].name, files[7].name)


def test_an_empty_split_is_refused(tool, market):
    shutil.rmtree(market / "query")
    (market / "query").mkdir()
    result = tool("train_reid.py", "--dataset", "market1501", "--root", market)
    assert_refused(result, "no images in", "query")


def test_an_output_folder_that_cannot_be_written_is_refused(tool, tiny_root, tmp_path):
    (tmp_path / "taken").write_text("a file")
    result = tool("train_reid.py", "--root", tiny_root, "--output-dir", "taken", SMALL)
    assert_refused(result, "cannot write to taken")
    assert (tmp_path / "taken").read_text() == "a file"


def test_weights_of_another_architecture_are_refused(tool, tiny_root, tmp_path):
    torch.save(build_model("mobilenetv2_base", 5).state_dict(), tmp_path / "base.pth")
    result = tool(
        "eval_reid.py", "--weights", "base.pth", "--model", "mobilenetv2_dcs", "--root", tiny_root
    )
    assert_refused(result, "base.pth holds the weights of another architecture")


@pytest.mark.parametrize(
    "arguments, said",
    [([], "pass --weights"), (["--weights", "absent.pt"], "no weights at")],
)
def test_evaluation_without_weights_is_refused(tool, arguments, said):
    assert_refused(tool("eval_reid.py", *arguments), said)


def test_debug_shows_where_it_went_wrong(tool):
    result = tool("eval_reid.py", "--debug")
    assert result.returncode == 2 and "Traceback" in result.stderr


@pytest.mark.parametrize("name", ["train_reid.py", "eval_reid.py"])
def test_help_names_the_flags(tool, name):
    result = tool(name, "--help")
    assert result.returncode == 0
    for flag in ("--config-file", "--model", "--dataset", "--root", "--output-dir", "key=value"):
        assert flag in result.stdout


def test_train_then_evaluate(tool, market, tmp_path):
    """The two commands of the README, on a set too small to learn from."""
    result = tool(
        "train_reid.py", "--dataset", "market1501", "--root", market, "--output-dir", "run",
        "--model", "mobilenetv2_base", "train.epochs=1", SMALL,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "not the official split of market1501" in result.stderr
    result = tool("eval_reid.py", "--weights", "run/checkpoint.pt", "--root", market)
    assert result.returncode == 0, result.stderr
    assert "mAP" in result.stdout and "mobilenetv2_base" in result.stdout


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["download", "osnet"], "the model zoo has no 'osnet': did you mean osnet_"),
        (["download"], "download takes one NAME"),
        (["list", "osnet_x1_0_market1501"], "list and verify take none"),
        (["forget"], "invalid choice: 'forget'"),
    ],
)
def test_mistakes_with_the_model_zoo(tool, arguments, said):
    assert_refused(tool("model_zoo.py", *arguments), said)


def test_the_model_zoo_lists_and_brings(tool, tmp_path):
    lines = tool("model_zoo.py", "list").stdout
    assert "mobilenetv2_dcs_synthetic" in lines and "* as their authors state" in lines
    result = tool("model_zoo.py", "download", "mobilenetv2_dcs_synthetic", "--output-dir", "here")
    assert result.stdout == "here/mobilenetv2_dcs_synthetic.safetensors\n"
    assert (tmp_path / "here/mobilenetv2_dcs_synthetic.safetensors").is_file()


def test_who_reads_the_output_may_leave(request):
    """As in ``model_zoo.py list | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, request.config.rootpath / "tools/model_zoo.py", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
