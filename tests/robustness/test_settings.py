"""Settings of any type, size and shape compose, or are refused in one line."""

import random

import pytest
from helpers.commands import assert_refused

from reid_dcs import InputError
from reid_dcs.config import EvaluateRun, SearchRun, as_layer, compose, parse_overrides, read_config

DIGITS = "9" * 5000
MISTAKES = [
    "eval: null", "data: abc", "train: [1]", "train: 3", "model: null", "ablation: {rows: [1]}",
    "data: {options: [1]}", "data: {options: abc}", "data: {phases: [3]}", "data: {phases: 3}",
    "data: {phases: [{epochs: x}]}", "search: {weight_optimizer: null}", "data: {1: 2}", "1: 2",
    "null: 3", "train: {milestones: [[1]]}", "train: {milestones: 3}", "train: {optimizer: null}",
    f"seed: {DIGITS}", f"data: {{height: {DIGITS}}}", f"train: {{ema: {DIGITS}}}",
    f"model: {{options: {{a: {DIGITS}}}}}", "seed: 0x" + "f" * 5000, f"seed: {2**63}", "seed: -1",
    f"model: {{options: {{a: {2**63}}}}}", f"train: {{epochs: {2**62}}}",
    f"data: {{width: {2**40}}}",
    "train: {warmup_epochs: .inf}", "train: {warmup_epochs: 1e400}", "train: {warmup_epochs: .nan}",
    "seed: !!int abc", "seed: !!python/object:os.system {}", "seed: !!binary aGk=",
    "seed: 2020-01-01", "[" * 600, "a: " + "{a: " * 600 + "1" + "}" * 600,
    "data: {options: {a: " + "[" * 300 + "]" * 300 + "}}", "seed: " + "[" * 100 + "]" * 100,
    "a: &a\n  b: *a", "seed: ${seed}", 'output_dir: "a\\0b"', f"output_dir: {'x' * 256}",
    f"output_dir: {'é' * 128}", f"data: {{root: {'/a' * 3000}}}", "output_dir: [1]",
    "data: {root: null}", "- 1", "3", "---\na: 1\n---\nb: 2", "\0",
]  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:40])
@pytest.mark.parametrize("kind", [SearchRun, EvaluateRun])
def test_a_file_of_settings(tmp_path, kind, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as said:
        compose(kind, as_layer(kind, read_config(path), "mine.yaml"))
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


@pytest.mark.parametrize(
    "override",
    [
        *(text.replace(": ", "=", 1) for text in MISTAKES[:40] if ": " in text),
        ".".join("a" * 600) + "=1",
        "data.options." + ".".join("a" * 600) + "=1",
        "a" * 10_000 + "=1",
        "train..epochs=3",
        ".=1",
        "seed.x=1",
        "seed=[",
        f"output_dir={'x' * 256}",
    ],
    ids=lambda text: text[:40],
)
def test_an_override(override):
    with pytest.raises(InputError):
        compose(SearchRun, parse_overrides(SearchRun, [override]))


def test_mutated_settings(tmp_path):
    """200 files of settings with characters exchanged: they compose or are refused."""
    path, generator = tmp_path / "mine.yaml", random.Random(0)
    text = "seed: 3\ndata: {name: folder, phases: [{epochs: 1, height: 64, width: 32}]}\n"
    text += "train:\n  epochs: 5\n  milestones: [1, 2]\n  ema: 0.5\nmodel: {options: {a: [1, x]}}\n"
    for _ in range(200):
        changed = list(text)
        for _ in range(generator.randint(1, 6)):
            changed[generator.randrange(len(changed))] = generator.choice(
                "{}[]:,&*!%#-'\"\n\t 0e.x~"
            )
        path.write_text("".join(changed))
        try:
            compose(SearchRun, as_layer(SearchRun, read_config(path)))
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--output-dir", "x" * 256], "too long"),
        (["--root", "/a" * 3000], "too long"),
        ([f"seed={DIGITS}"], "seed"),
        ([f"seed={2**63}"], "seed"),
        (["--config-file", "x" * 256], "File name too long"),
        (["device=cuda:x"], "use auto, cpu, cuda, cuda:NUMBER or mps"),
        (["device=cpu:1"], "use auto, cpu, cuda, cuda:NUMBER or mps"),
        (["device=tpu"], "use auto, cpu, cuda, cuda:NUMBER or mps"),
        (["--dataset", "cuhk03", "data.options.split_id=abc"], "split_id must be a whole number"),
        (["--dataset", "cuhk03", "data.options.split_id=1.5"], "split_id must be a whole number"),
        (["--dataset", "cuhk03", "data.options.cuhk03_labeled=3"], "must be true or false"),
        (["--dataset", "folder", "data.options.held_out=[1]"], "held_out must be a number"),
    ],
)
def test_a_command_line(tool, tmp_path, arguments, said):
    assert_refused(tool("train_reid.py", *arguments), said)
    assert not list(tmp_path.iterdir())


def test_identities_of_more_than_64_bits(tool, tmp_path):
    for split in ("train", "query", "gallery"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{2**63}_c1_0.jpg").touch()
        (tmp_path / split / "2_c2_0.jpg").touch()
    result = tool("train_reid.py", "--dataset", "folder", "--root", tmp_path, "--output-dir", "/x")
    assert_refused(result, f"{2**63}_c1_0.jpg", "rename")
