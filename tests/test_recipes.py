"""The paper's numbers, in every command that the headers of configuration files give."""

from pathlib import Path

import pytest
import yaml
from helpers.commands import documented
from helpers.paths import REPOSITORY

from reid_dcs.cli import main
from reid_dcs.config import SETTINGS, OptimizerConfig, compose, to_layer

CONFIGS = REPOSITORY / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
TRAINING, SEARCH, FINE_TUNING, DNAS = (
    f"configs/recipes/{name}.yaml" for name in ("paper", "search", "finetune", "dnas")
)
WEIGHTS = OptimizerConfig("sgd", 0.035, 0.9, 5e-4, "step", [150, 240], 0.1, 0)
"""Of the network's weights in both searches."""


COMPOSED: dict[Path, list] = {}


@pytest.fixture
def composed(monkeypatch, capsys):
    """The commands of a file: arguments, and settings by row of the table, if there is one."""
    monkeypatch.chdir(REPOSITORY)

    def compose_file(file: Path) -> list:
        if file not in COMPOSED:
            COMPOSED[file] = [compose_command(*command) for command in documented(file)]
        return COMPOSED[file]

    def compose_command(command: str, arguments: list[str]) -> tuple[list[str], dict]:
        main([*command.split(), *arguments, "--settings"])
        kind = SETTINGS[command]
        config = compose(kind, yaml.safe_load(capsys.readouterr().out))
        if not config.ablation.rows:
            return arguments, {"": config}
        shared = to_layer(config) | {"ablation": {}}
        return arguments, {
            row: compose(kind, shared, {key: v for key, v in changes.items() if key != "paper"})
            for row, changes in config.ablation.rows.items()
        }

    return compose_file


def same_for_all(config) -> None:
    """What the paper says of both kinds of backbone (Section 3.1.1, Appendix B)."""
    assert (config.data.batch_size, config.data.flip, config.data.phases) == (64, 0.5, [])
    assert config.data.erasing > 0 and config.train.label_smoothing > 0
    assert config.train.triplet_weight == 1 and not config.train.soft_margin
    assert (config.train.accumulate, config.train.ema, config.train.clip_norm) == (1, 0, 0)


def fixed_backbone(config) -> None:
    """Training of a fixed backbone: 600 epochs of SGD, with or without ImageNet weights."""
    same_for_all(config)
    train = config.train
    assert (train.epochs, train.optimizer, train.momentum) == (600, "sgd", 0.9)
    assert (train.learning_rate, train.weight_decay) == (0.035, 5e-4)
    assert (train.schedule, train.milestones, train.lr_decay) == ("step", [300, 500], 0.1)
    assert (train.warmup_epochs, train.frozen_epochs) == (0, 0)
    assert (config.data.height, config.data.width) in ((256, 128), (384, 128))
    assert config.data.padding > 0 and config.data.mixup == 0


def fine_tuning(config) -> None:
    """Fine-tuning of a searched backbone: 10 + 390 epochs of Adam, mixup, no crops."""
    same_for_all(config)
    train = config.train
    assert (train.epochs, train.frozen_epochs, train.optimizer) == (400, 10, "adam")
    assert (train.learning_rate, train.schedule) == (3.5e-4, "step")
    assert (train.milestones, train.lr_decay, train.warmup_epochs) == ([200, 300], 0.1, 0)
    assert (config.data.height, config.data.width, config.data.padding) == (384, 128, 0)
    assert config.data.mixup > 0


def channel_search(config) -> None:
    """Search of channels: 300 epochs, p = 0.2, momentum SGD 0.3 for the windows."""
    search, windows = config.search, config.search.window_optimizer
    assert (search.epochs, search.window_share, search.target_gmacs) == (300, 0.2, 0)
    assert search.weight_optimizer == WEIGHTS
    assert (windows.optimizer, windows.learning_rate, windows.schedule) == ("sgd", 0.3, "cosine")
    assert (windows.momentum, windows.warmup_epochs, search.window_unit) == (0.9, 0, "channel")


def backbone_search(config) -> None:
    """Search of backbone and channels: Adam 0.03 for windows and Gumbel softmaxes."""
    search = config.search
    assert (search.epochs, search.window_share) == (300, 0.2) and search.target_gmacs > 0
    assert search.weight_optimizer == WEIGHTS
    for recipe in (search.window_optimizer, search.logit_optimizer):
        assert (recipe.optimizer, recipe.learning_rate) == ("adam", 0.03)
        assert (recipe.schedule, recipe.warmup_epochs) == ("cosine", 0)
    assert (config.data.height, config.data.width, config.data.batch_size) == (384, 128, 64)
    assert (search.temperature, search.temperature_decay) == (5.0, 0.956)


RECIPES = {
    TRAINING: fixed_backbone,
    FINE_TUNING: fine_tuning,
    SEARCH: channel_search,
    DNAS: backbone_search,
}


WITH_RECIPE = [file for file in FILES if any(recipe in file.read_text() for recipe in RECIPES)]


@pytest.mark.parametrize("file", WITH_RECIPE, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_a_command_with_a_recipe_of_the_paper_has_the_papers_numbers(file, composed):
    for arguments, rows in composed(file):
        for recipe in RECIPES.keys() & set(arguments):
            for config in rows.values():
                RECIPES[recipe](config)


TABLES = {
    "table1": ((TRAINING, SEARCH), 3),
    "table1_imagenet": ((TRAINING, SEARCH), 3),
    "table1_imagenet_200": ((TRAINING, SEARCH), 3),
    "table1_dnas": ((FINE_TUNING, DNAS), 3),
    "table7": ((TRAINING, SEARCH), 1),
    "table8": ((TRAINING, SEARCH), 3),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_the_paper_has_a_command_for_each_data_set(table, composed):
    recipes, count = TABLES[table]
    names, outputs = [], set()
    for arguments, rows in composed(CONFIGS / f"ablation/{table}.yaml"):
        assert [file for file in arguments if file in RECIPES] == list(recipes)
        first = next(iter(rows.values()))
        names.append(first.data.name)
        outputs.add(first.output_dir)
        assert first.output_dir.startswith(f"outputs/{first.data.name}/{table}")
        for config in rows.values():
            assert config.data.name == first.data.name
            assert config.model.pretrained == (table == "table1_imagenet")
            assert config.train.init == ("FILE" if table == "table1_imagenet_200" else "")
    assert names == ["market1501", "dukemtmcreid", "msmt17"][:count]
    assert len(outputs) == count


def test_table_7_has_the_rows_of_the_paper_and_the_small_one_more(composed):
    (_, rows), (_, small) = (
        composed(CONFIGS / f"ablation/{name}.yaml")[0] for name in ("table7", "table7_small")
    )
    published = ["dcs_mask", "dcs_mask_softmax", "dcs_ib"]
    assert list(small) == [*rows, "base_longer", "sa_longer", *published]
    lengths = {row: (config.search.epochs, config.train.epochs) for row, config in small.items()}
    assert {lengths[row] for row in rows} == {(3, 10)}
    assert lengths["base_longer"][1] == lengths["sa_longer"][1] == 3 + 10
