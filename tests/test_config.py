"""Settings: a class for each command, layers, types, ranges, and one line for each mistake."""

from dataclasses import fields, is_dataclass

import pytest
import yaml
from helpers.commands import SCRIPTS, documented
from helpers.paths import REPOSITORY

from reid_dcs import InputError, list_models
from reid_dcs.config import (
    SETTINGS,
    EvaluateRun,
    PrepareData,
    SearchRun,
    TrainConfig,
    TrainRun,
    as_layer,
    compose,
    parse_overrides,
    read_config,
    to_layer,
    to_yaml,
    upgraded,
)
from reid_dcs.config.settings import RENAMED
from reid_dcs.engine import check_same_run

CONFIGS = REPOSITORY / "configs"


def given(*overrides, kind=TrainRun):
    """The settings that a command line of overrides gives."""
    return compose(kind, parse_overrides(kind, list(overrides)))


def refused(*overrides, kind=TrainRun):
    with pytest.raises(InputError) as error:
        given(*overrides, kind=kind)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_later_layer_wins():
    later = parse_overrides(TrainRun, ["train.epochs=5"])
    config = compose(TrainRun, {"train": {"epochs": 3}, "seed": 7}, later)
    assert (config.train.epochs, config.seed, config.train.margin) == (5, 7, 0.3)


def test_settings_are_a_layer_as_plain_types_and_as_an_object():
    phases = [{"epochs": 2, "height": 32, "width": 16, "padding": 1}]
    layer = {
        "model": {"options": {"windows": 1}, "pretrained": "file.pth"},
        "data": {"phases": phases},
    }
    config = compose(TrainRun, layer)
    assert compose(TrainRun, to_layer(config)) == config == compose(TrainRun, config)


def test_an_object_gives_what_differs_from_the_defaults():
    assert as_layer(TrainRun, TrainRun(train=TrainConfig(epochs=3))) == {"train": {"epochs": 3}}


def test_an_object_is_checked_too():
    with pytest.raises(InputError, match="train.epochs must be at least 1, not 0"):
        compose(TrainRun, TrainRun(train=TrainConfig(epochs=0)))


def test_the_output_folder_follows_data_and_model():
    assert given("model.name=m", "data.name=d").output_dir == "outputs/d/m"


@pytest.mark.parametrize(
    "override, said",
    [
        ("seed=soon", "seed: Value 'soon' of type 'str' could not be converted to Integer"),
        ("eval.metric=taxicab", "eval.metric: Invalid value 'taxicab'"),
        ("model.nme=x", "model.nme: Key 'nme' not in 'TrainModelConfig'. Did you mean: 'name'?"),
        ("trains.epochs=1", "trains: Key 'trains' not in 'TrainRun'"),
        ("train=3", "int is not a subclass of TrainConfig"),
        ("train.epochs=1.5", "train.epochs: Value '1.5'"),
        ("train.epochs=true", "train.epochs: Value 'True'"),
        ("model.options=3", "model.options: Cannot assign int"),
        ("data.flip=[1]", "data.flip: Value '[1]'"),
        ("data.phases={epochs: 1}", "data.phases must be a list, not {'epochs': 1}"),
        ("data.phases=[3]", "data.phases[0]: Invalid type assigned: int"),
        ("data.phases=[{epochs: 2, height: 32}]", "data.phases[0].width: "),
        ("data.phases=[{epochs: a, height: 32, width: 16}]", "epochs: Value 'a'"),
        ("data.phases=[{hight: 32}]", "Key 'hight' not in 'PhaseConfig'. Did you mean: 'height'?"),
        (
            "data.phases=[{epochs: 0, height: 32, width: 16}]",
            "data.phases[0].epochs must be at least 1, not 0",
        ),
        (
            "data.phases=[{epochs: 1, height: 32, width: 16, batch_size: 0}]",
            "data.phases[0].batch_size must be at least 1, not 0",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_key(override, said):
    assert said in refused(override)


@pytest.mark.parametrize("override", ["train.epochs", "train.epochs=[", "=3"])
def test_what_is_no_override_is_refused(override):
    refused(override)


RANGES = {
    "at least 0": """seed data.padding data.mixup train.learning_rate train.momentum
        train.weight_decay train.warmup_epochs train.frozen_epochs train.clip_norm train.ema
        train.label_smoothing train.margin train.triplet_weight train.ib_weight data.flip
        data.erasing data.brightness data.contrast eval.every search.target_gmacs
        search.cost_weight""",
    "at least 1": """data.batch_size data.num_instances train.epochs train.accumulate
        search.epochs eval.batch_size""",
    "at least 2": "search.calibration",
    "at least 16": "data.height data.width",
    "at least 1e-06": "search.temperature search.temperature_floor",
    "above 0": "train.lr_decay search.window_share search.temperature_decay",
    "at most 1": """data.flip data.erasing data.brightness data.contrast train.lr_decay
        search.temperature_decay""",
    "below 1": """train.momentum train.ema train.label_smoothing search.window_share
        search.weight_optimizer.momentum""",
}


@pytest.mark.parametrize(
    "bound, name", [(bound, name) for bound, names in RANGES.items() for name in names.split()]
)
def test_a_number_out_of_its_range_is_refused(bound, name):
    words, limit = bound.rsplit(" ", 1)
    outside = float(limit) + {"at least": -1, "above": 0, "at most": 1, "below": 0}[words]
    outside = int(outside) if outside.is_integer() else outside
    assert f"{name} must be {bound}, not {outside}" in refused(f"{name}={outside}", kind=SearchRun)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_the_weight_of_the_original_distance_is_a_fraction(weight):
    assert "eval.rerank_weight must be at" in refused(
        f"eval.rerank_weight={weight}", kind=EvaluateRun
    )


@pytest.mark.parametrize("name", ["train.milestones=[0]", "ablation.seeds=[1,-1]", f"seed={2**32}"])
def test_ranges_hold_in_lists_and_for_seeds(name):
    assert "must be at" in refused(name)


def numbers(kind, prefix=""):
    """The names of all settings that are a float."""
    for item in fields(kind):
        value = getattr(kind, item.name)
        if is_dataclass(value):
            yield from numbers(value, f"{prefix}{item.name}.")
        elif isinstance(value, float):
            yield f"{prefix}{item.name}"


def test_every_number_is_finite():
    for kind in (SearchRun, EvaluateRun):
        found = list(numbers(kind()))
        assert found
        for name in found:
            assert "must be a finite number" in refused(f"{name}=nan", kind=kind)


@pytest.mark.parametrize("value", ["inf", "-inf", ".nan", ".inf", "1e999"])
def test_infinity_is_no_number(value):
    assert "must be a finite number" in refused(f"train.margin={value}")


@pytest.mark.parametrize(
    "command, override, said",
    [
        ("train", "eval.rerank=true", "train would ignore eval.rerank, which is a setting of eval"),
        ("train", "eval.weights=x", "train would ignore eval.weights"),
        ("train", "search.epochs=3", "train would ignore search.epochs, which is a setting of sea"),
        ("search", "eval.flip=true", "search would ignore eval.flip"),
        ("eval", "train.epochs=3", "eval would ignore train.epochs, which is a setting of train a"),
        ("eval", "data.batch_size=4", "eval would ignore data.batch_size"),
        ("eval", "resume=auto", "eval would ignore resume"),
        ("eval", "model.pretrained=true", "eval would ignore model.pretrained"),
        ("eval", "eval.every=1", "eval would ignore eval.every"),
        ("data", "seed=3", "data would ignore seed, which is a setting of train and search and e"),
        ("data", "data.mapped=true", "data would ignore data.mapped"),
    ],
)
def test_a_command_refuses_what_it_would_ignore(command, override, said):
    assert said in refused(override, kind=SETTINGS[command])


def test_a_python_layer_is_held_to_the_same():
    with pytest.raises(InputError, match="train would ignore eval.rerank"):
        compose(TrainRun, {"eval": {"rerank": True}})
    with pytest.raises(InputError, match="eval would ignore train.epochs"):
        compose(EvaluateRun, TrainRun(train=TrainConfig(epochs=3)))


@pytest.mark.parametrize(
    "old, new",
    [
        ("search.share=0.3", "search.share is now search.window_share"),
        ("search.weights.learning_rate=1", "is now search.weight_optimizer.learning_rate"),
        ("search.windows.decay=1", "search.windows.decay is now search.window_optimizer.lr_decay"),
        ("search.logits.optimizer=sgd", "is now search.logit_optimizer.optimizer"),
        ("train.decay=0.5", "train.decay is now train.lr_decay"),
    ],
)
@pytest.mark.parametrize("kind", [TrainRun, SearchRun])
def test_an_old_key_is_answered_with_the_new_one(kind, old, new):
    assert new in refused(old, kind=kind)


def test_every_new_name_is_a_setting():
    settings = to_layer(SearchRun())
    for name in RENAMED.values():
        node = settings
        for part in name.split("."):
            node = node[part]


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


@pytest.mark.parametrize(
    "content, said",
    [(None, "No such file"), ("a: [", "configuration file"), ("- a", "expected keys and values")],
)
def test_a_bad_file_is_refused(tmp_path, content, said):
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        read_config(file)
    assert "\n" not in str(error.value)


OLD = """
seed: 4
resume: none
output_dir: out
model: {name: fbnetv2_dcs, options: {windows: 1}, pretrained: false}
data: {name: market1501, root: there, height: 128}
train: {epochs: 5, schedule: step, milestones: [3], decay: 0.5}
search:
  share: 0.3
  weights: {optimizer: sgd, learning_rate: 0.1, decay: 0.2}
  windows: {optimizer: adam}
  logits: {decay: 0.3}
ablation: {rows: {}, seeds: [1]}
eval: {metric: euclidean, weights: '', rerank: false, every: 2}
"""


def test_settings_of_an_earlier_version_are_translated():
    old = yaml.safe_load(OLD)
    search = compose(SearchRun, upgraded(old, SearchRun))
    assert (search.train.lr_decay, search.search.window_share) == (0.5, 0.3)
    assert search.search.weight_optimizer.lr_decay == 0.2
    assert search.search.window_optimizer.optimizer == "adam"
    assert search.search.logit_optimizer.lr_decay == 0.3
    train = compose(TrainRun, upgraded(old, TrainRun))
    assert (train.eval.every, train.data.width, train.model.options) == (2, 32, {"windows": 1})
    assert old == yaml.safe_load(OLD)


@pytest.mark.parametrize("kind", [TrainRun, SearchRun])
def test_a_checkpoint_of_an_earlier_version_is_of_the_same_run(kind):
    old = yaml.safe_load(OLD)
    content = {"config": old, "rng": [{}]}
    now = to_layer(compose(kind, upgraded(old, kind)))
    check_same_run(content, now, 1, "run")
    now["train"]["lr_decay"] = 0.1
    with pytest.raises(InputError, match="train.lr_decay is 0.5 there, 0.1 here"):
        check_same_run(content, now, 1, "run")


def test_todays_settings_are_not_changed_by_a_translation():
    for kind in (TrainRun, SearchRun, EvaluateRun):
        assert upgraded(to_layer(kind()), kind) == to_layer(kind())


PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("datasets/*.md")]
    + [*REPOSITORY.glob("tools/*.py"), *REPOSITORY.glob("reid_dcs/models/found/*.yaml")]
    + [*CONFIGS.rglob("*.yaml")]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_documented_command_has_valid_settings(page, monkeypatch, capsys):
    from reid_dcs.cli import main

    monkeypatch.chdir(REPOSITORY)
    for command, arguments in documented(page):
        main([*command.split(), *arguments, "--settings"])
        compose(SETTINGS[command], yaml.safe_load(capsys.readouterr().out))


def test_the_documented_commands_are_found():
    found = [command for page in PAGES for command, _ in documented(page)]
    assert {command: found.count(command) > 2 for command in SCRIPTS.values()} == {
        command: True for command in SCRIPTS.values()
    }
    for file in CONFIGS.rglob("*.yaml"):
        assert any(str(file.relative_to(REPOSITORY)) in line for _, line in documented(file)), file


def test_every_row_of_every_table_composes_and_is_a_model():
    files = sorted((CONFIGS / "ablation").glob("*.yaml"))
    assert files
    for file in files:
        config = compose(SearchRun, read_config(file))
        assert config.ablation.rows, file
        for row, settings in config.ablation.rows.items():
            changes = {key: value for key, value in settings.items() if key != "paper"}
            assert compose(SearchRun, changes).model.name in list_models(), f"{file}: {row}"


def test_no_two_configurations_differ_in_a_line():
    texts = {
        file: [line for line in file.read_text().splitlines() if not line.startswith("#")]
        for file in CONFIGS.rglob("*.yaml")
    }
    for first, lines in texts.items():
        for second, others in texts.items():
            if first < second and len(lines) == len(others):
                differing = sum(a != b for a, b in zip(lines, others, strict=True))
                assert differing > 1, f"{first} and {second}"


def test_data_is_prepared_at_256x128_by_default():
    images = compose(PrepareData, {"data": {"name": "market1501"}}).data
    assert (images.height, images.width) == (256, 128)


def numbers_of_any_kind(kind, prefix=""):
    """The names of all settings that are a number."""
    for item in fields(kind):
        value = getattr(kind, item.name)
        if is_dataclass(value):
            yield from numbers_of_any_kind(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{item.name}"


@pytest.mark.parametrize("kind", [SearchRun, EvaluateRun])
@pytest.mark.parametrize("number", [10**12, 10**400])
def test_no_number_is_without_bounds(kind, number):
    for name in numbers_of_any_kind(kind()):
        *groups, key = name.split(".")
        layer = {key: number}
        for group in reversed(groups):
            layer = {group: layer}
        with pytest.raises(InputError) as error:
            compose(kind, layer)
        assert "\n" not in str(error.value) and len(str(error.value)) < 300, name
