"""The commands, as a user types them: status 2 and one line for every mistake."""

import configparser
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from helpers.commands import assert_refused
from helpers.paths import REPOSITORY

from reid_dcs import build_model
from reid_dcs.cli import COMMANDS, main
from reid_dcs.cli.classify import ACTIONS as CLASSIFY
from reid_dcs.cli.detection import ACTIONS as DETECT

SMALL = "data.batch_size=16"
HEAVY = ("torch", "torchreid", "matplotlib", "cv2", "PIL")


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
        (["eval.rerank=true"], ["train would ignore eval.rerank", "a setting of eval"]),
        (["train.decay=0.5"], ["train.decay is now train.lr_decay"]),
        (["data.flip=1.5"], ["data.flip must be at most 1, not 1.5"]),
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
    result = tool("train_reid.py", "--dataset", "market1501", "--root", market, SMALL)
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


def test_an_ignored_setting_in_a_file_is_refused_with_the_file(tool, tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {epochs: 3}")
    result = tool("eval_reid.py", "--config-file", "mine.yaml", "--weights", "absent.pt")
    assert_refused(result, "configuration file mine.yaml: eval would ignore train.epochs")


@pytest.mark.parametrize("name", ["2024_11_05", "007", "1e3"])
@pytest.mark.parametrize("flag", ["--output-dir", "output_dir"])
def test_an_output_folder_has_the_name_that_was_typed(tool, tmp_path, name, flag):
    arguments = [f"{flag}={name}", "--root=~/data", "--dataset", "007", "--model", "1e3"]
    found = yaml.safe_load(tool("train_reid.py", *arguments, "--settings").stdout)
    assert str(found["output_dir"]) == name
    assert found["data"]["root"] == os.path.expanduser("~/data")
    assert (found["data"]["name"], found["model"]["name"]) == ("007", "1e3")


def test_printed_settings_are_a_file_of_settings(tool, tmp_path):
    first = tool("search_reid.py", "train.epochs=3", "--output-dir", "1e3", "--settings").stdout
    (tmp_path / "mine.yaml").write_text(first)
    assert tool("search_reid.py", "--config-file", "mine.yaml", "--settings").stdout == first


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: reid-dcs {command} ")


@pytest.mark.parametrize("command, actions", [("classify", CLASSIFY), ("detect", DETECT)])
def test_the_help_lists_all_actions(command, actions):
    assert COMMANDS[command][1].endswith(f": {', '.join(actions)}")


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["--verbose"], "arguments are required: COMMAND"),
    ],
)
def test_an_unknown_command_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    said_lines = capsys.readouterr().err.splitlines()
    assert len(said_lines) == 1 and said in said_lines[0]


def test_the_installed_command_is_main():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert (
        setup["options.entry_points"]["console_scripts"].strip() == "reid-dcs = reid_dcs.cli:main"
    )


@pytest.mark.parametrize(
    "script", sorted((REPOSITORY / "tools").glob("*.py")), ids=lambda s: s.name
)
def test_each_script_is_a_command(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    assert stop.value.code == 0
    (command,) = re.findall(r"reid-dcs (\w+)\.$", script.read_text(), re.M)
    assert capsys.readouterr().out.startswith(f"usage: reid-dcs {command} ")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["zoo", "list"], ["train", "--settings"], ["train", "eval.rerank=true"]]
    + [[command, "--help"] for command in COMMANDS],
    ids=" ".join,
)
def test_what_needs_no_network_imports_no_torch(arguments):
    """In a separate process, because this one has imported torch."""
    program = (
        "import sys\n"
        "from reid_dcs.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
        (["list", "--output-dir", "zoo"], "--output-dir would be ignored"),
        (["list", "osnet_x1_0_market1501"], "list and verify take none"),
        (["forget"], "invalid choice: 'forget'"),
    ],
)
def test_mistakes_with_the_model_zoo(tool, arguments, said):
    assert_refused(tool("model_zoo.py", *arguments), said)


def test_the_model_zoo_lists_and_brings(tool, tmp_path):
    lines = tool("model_zoo.py", "list").stdout
    assert "* as their authors state" in lines
    tasks = {line.split()[0]: line.split()[1] for line in lines.splitlines() if line}
    assert (tasks["mobilenetv2_dcs_synthetic"], tasks["yolox_nano"]) == ("reid", "detection")
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
