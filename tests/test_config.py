"""Settings: layers, types, and one line for each mistake."""

import pytest

from reid_dcs import InputError, list_models
from reid_dcs.config import compose, parse_overrides, read_config, to_layer


def test_a_later_layer_wins():
    config = compose({"train": {"epochs": 3}, "seed": 7}, parse_overrides(["train.epochs=5"]))
    assert (config.train.epochs, config.seed, config.train.margin) == (5, 7, 0.3)


def test_a_configuration_is_its_own_layer():
    config = compose({"model": {"options": {"windows": 1}, "pretrained": "file.pth"}})
    assert compose(to_layer(config)) == config == compose(config)


def test_the_output_folder_follows_data_and_model():
    assert compose({"model": {"name": "m"}, "data": {"name": "d"}}).output_dir == "outputs/d/m"


@pytest.mark.parametrize(
    "override, said",
    [
        ("seed=soon", "seed: Value 'soon' of type 'str' could not be converted to Integer"),
        ("eval.metric=taxicab", "eval.metric: Invalid value 'taxicab'"),
        ("model.nme=x", "model.nme: Key 'nme' not in 'ModelConfig'. Did you mean: 'name'?"),
        ("trains.epochs=1", "trains: Key 'trains' not in 'Config'"),
        ("train=3", "int is not a subclass of TrainConfig"),
        ("train.epochs=0", "train.epochs must be at least 1, not 0"),
        ("train.epochs=1.5", "train.epochs: Value '1.5'"),
        ("train.learning_rate=nan", "train.learning_rate must be at least 0, not nan"),
        ("model.options=3", "model.options: Cannot assign int"),
        ("data.flip=[1]", "data.flip: Value '\\[1\\]'"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(override, said):
    with pytest.raises(InputError, match=said) as error:
        compose(parse_overrides([override]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("override", ["train.epochs", "a=[", "=3"])
def test_what_is_no_override_is_refused(override):
    with pytest.raises(InputError):
        compose(parse_overrides([override]))


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


def test_every_committed_configuration_composes(request):
    files = sorted((request.config.rootpath / "configs").rglob("*.yaml"))
    assert files
    for file in files:
        config = compose(read_config(file))
        assert file.read_text().startswith("# python tools/"), f"{file} opens with its command"
        if file.parent.name not in ("recipes", "ablation"):  # of many models, or on top of one
            assert (config.data.name, config.model.name) == (file.parent.name, file.stem)


def test_every_row_of_every_table_composes_and_is_a_model(request):
    files = sorted((request.config.rootpath / "configs/ablation").glob("*.yaml"))
    assert files
    for file in files:
        config = compose(read_config(file))
        assert config.ablation.rows, file
        for row, own in config.ablation.rows.items():
            name = compose({k: v for k, v in own.items() if k != "paper"}).model.name
            assert name in list_models(), f"{file}: {row}"


def test_the_papers_recipe_is_the_papers(request):
    recipes = request.config.rootpath / "configs/recipes"
    paper = compose(read_config(recipes / "paper.yaml")).train
    assert (paper.epochs, paper.optimizer, paper.milestones) == (600, "sgd", [300, 500])
    assert (paper.learning_rate, paper.momentum, paper.decay) == (0.035, 0.9, 0.1)
    assert paper.weight_decay == 5e-4
