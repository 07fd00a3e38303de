"""Text stays text, and paths know the home folder."""

import pytest
from helpers.settings import given

from reid_dcs import InputError
from reid_dcs.config import (
    EvaluateRun,
    TrainRun,
    compose,
    read_config,
    to_yaml,
)

TEXTS = ["2024_11_05", "007", "1e3", "true", "null", "1.0", "0x10", "a: b", "[", "${HOME}", "${"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(text, tmp_path):
    """On the command line, and through config.yaml to the next run."""
    names = [f"{name}={text}" for name in ("output_dir", "data.root", "data.name", "resume")]
    config = given(*names, f"model.name={text}")
    found = (config.output_dir, config.data.root, config.data.name, config.resume)
    assert {*found, config.model.name} == {text}
    assert given(f"eval.weights={text}", kind=EvaluateRun).eval.weights == text
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert compose(TrainRun, read_config(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize(
    "text, value", [("true", True), ("False", False), ("007", "007"), ("a.pth", "a.pth")]
)
def test_pretrained_is_a_switch_or_a_file(text, value):
    found = given(f"model.pretrained={text}").model.pretrained
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("line", ["output_dir: 007", "output_dir: 1e3", "model: {pretrained: 7}"])
def test_a_number_where_a_file_should_say_text_is_to_be_quoted(line, tmp_path):
    (tmp_path / "config.yaml").write_text(line)
    with pytest.raises(InputError, match="must be text, .*: put it in quotes"):
        compose(TrainRun, read_config(tmp_path / "config.yaml"))


def test_the_home_folder_is_found_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/zoe")
    (tmp_path / "config.yaml").write_text("output_dir: ~/out\ndata: {root: ~/data}\n")
    config = compose(
        TrainRun,
        read_config(tmp_path / "config.yaml"),
        {"resume": "~/a.pt", "model": {"pretrained": "~/b.pth", "options": {"mode": "mask"}}},
    )
    assert (config.output_dir, config.data.root) == ("/home/zoe/out", "/home/zoe/data")
    assert (config.resume, config.model.pretrained) == ("/home/zoe/a.pt", "/home/zoe/b.pth")
    assert given("eval.weights=~/c.pt", kind=EvaluateRun).eval.weights == "/home/zoe/c.pt"
    options = given("model.options.architecture=~/found.json").model.options
    assert options == {"architecture": "/home/zoe/found.json"}


def test_a_file_may_lie_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.yaml").write_text("seed: 3")
    assert read_config("~/config.yaml") == {"seed": 3}
