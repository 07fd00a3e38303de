"""Settings: layers, types, and one line for each mistake."""

import pytest
from helpers.settings import given, refused

from reid_dcs import InputError
from reid_dcs.config import (
    SETTINGS,
    EvaluateRun,
    PrepareData,
    SearchRun,
    TrainConfig,
    TrainRun,
    WorthRun,
    as_layer,
    compose,
    merge_layers,
    parse_overrides,
    read_config,
    to_layer,
)


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
        ("train.epochs=1.5", "train.epochs: Value '1.5'"),
        ("train.epochs=true", "train.epochs: Value 'True'"),
        ("model.options=3", "model.options must hold settings, not 3"),
        ("model.options=[1]", "model.options must hold settings, not [1]"),
        ("train=3", "train must hold settings, not 3"),
        ("data.phases=3", "data.phases must be a list, not 3"),
        ("train.milestones=x", "train.milestones must be a list, not 'x'"),
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


def test_data_is_prepared_at_256x128_by_default():
    images = compose(PrepareData, {"data": {"name": "market1501"}}).data
    assert (images.height, images.width) == (256, 128)


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "No such file"),
        ("a: [", "configuration file"),
        ("train:\n  epochs: 3\n lr: 1", "config.yaml: line 3: did not find expected key"),
        ("- a", "expected keys and values"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, said):
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        read_config(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [TrainRun, SearchRun, EvaluateRun])
@pytest.mark.parametrize(
    "option", ["num_classes", "pretrained", "loss", "use_gpu", "task", "attention"]
)
def test_what_other_settings_decide_is_no_option_of_a_network(kind, option):
    said = refused(f"model.options.{option}=3", kind=kind)
    assert said == f"model.options.{option} is not an option of a network"


@pytest.mark.parametrize("kind", [TrainRun, SearchRun, EvaluateRun, WorthRun])
@pytest.mark.parametrize("group", ["eval", "model", "data"])
def test_an_empty_group_is_refused_and_drops_nothing(kind, group):
    """It is None in YAML, as where all of its settings are comments."""
    said = f"^configuration: {group} must hold settings, not None$"
    with pytest.raises(InputError, match=said):
        compose(kind, {group: None})
    with pytest.raises(InputError, match=said):
        merge_layers({group: {"name": "x"}}, {group: None})


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_text_is_no_list_and_no_mapping(value):
    with pytest.raises(InputError, match="eval.weights must be text"):
        as_layer(EvaluateRun, {"eval": {"weights": value}})


def test_a_dotted_key_says_where_it_belongs():
    with pytest.raises(InputError, match="train.epochs must be epochs in the group train"):
        compose(TrainRun, {"train.epochs": 3})
