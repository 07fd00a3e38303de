"""The paper's numbers, in every command that the headers of configuration files give."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers.commands import documented
from helpers.paths import REPOSITORY

from reid_dcs.cli import main
from reid_dcs.config import SETTINGS, OptimizerConfig, SearchRun, TrainRun, compose, to_layer
from reid_dcs.runs.search import check_search
from reid_dcs.runs.train import check_training

CONFIGS = REPOSITORY / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
TRAINING, SEARCH, FINE_TUNING, DNAS = (
    f"configs/recipes/{name}.yaml" for name in ("paper", "search", "finetune", "dnas")
)
WEIGHTS = OptimizerConfig("sgd", 0.035, 0.9, 5e-4, "step", [150, 240], 0.1, 0)
"""Of the network's weights in both searches."""
CLASSIFICATION = [
    f"configs/classification/{name}.yaml"
    for name in ("mobilenetv2", "mobilenetv2_search", "fbnetv2", "fbnetv2_search")
]
DETECTION = [f"configs/detection/{name}.yaml" for name in ("search", "finetune")]


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
        if not getattr(config, "ablation", None) or not config.ablation.rows:
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


def classification(config) -> None:
    """Networks of Table 3: batches of 128 (Section 3.3), at ImageNet's 224x224."""
    assert (config.data.batch_size, config.data.height, config.data.width) == (128, 224, 224)
    train = config.train
    assert (train.accumulate, train.ema, train.frozen_epochs, train.warmup_epochs) == (1, 0, 0, 0)


def mobilenetv2_classifier(config) -> None:
    """Training of MobileNetV2 on ImageNet: 150 epochs of Adam at 0.05, cosine."""
    classification(config)
    train = config.train
    assert (train.epochs, train.optimizer, train.learning_rate) == (150, "adam", 0.05)
    assert train.schedule == "cosine"


def fbnetv2_classifier(config) -> None:
    """Training of FBNetV2 on ImageNet: 350 epochs of SGD at 0.05, divided by 10 three times."""
    classification(config)
    train = config.train
    assert (train.epochs, train.optimizer, train.learning_rate) == (350, "sgd", 0.05)
    assert (train.schedule, train.milestones) == ("step", [100, 200, 300])
    assert train.lr_decay == 0.1


def classification_search(config) -> None:
    """Search on 100 classes: 100 epochs, 20 % of the batches for Adam at 0.01."""
    search = config.search
    assert (search.epochs, search.window_share, config.data.classes) == (100, 0.2, 100)
    windows = search.window_optimizer
    assert (windows.optimizer, windows.learning_rate) == ("adam", 0.01)
    for recipe in (search.weight_optimizer, windows):
        assert (recipe.schedule, recipe.warmup_epochs) == ("cosine", 0)


def mobilenetv2_classification_search(config) -> None:
    """Search in MobileNetV2: Adam at 0.05 for the weights."""
    classification_search(config)
    weights = config.search.weight_optimizer
    assert (weights.optimizer, weights.learning_rate) == ("adam", 0.05)


def fbnetv2_classification_search(config) -> None:
    """Search of FBNetV2: SGD at 0.1 for the weights; Gumbel softmaxes learn as the windows do."""
    classification_search(config)
    weights = config.search.weight_optimizer
    assert (weights.optimizer, weights.learning_rate) == ("sgd", 0.1)
    assert config.search.logit_optimizer == config.search.window_optimizer


def detection(recipe, rate: float, milestones: list[int]) -> None:
    """AdamW with weight decay 0.05, a tenth of the rate at three epochs (Section 3.2)."""
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adamw", rate, 0.05)
    assert (recipe.schedule, recipe.milestones, recipe.lr_decay) == ("step", milestones, 0.1)
    assert recipe.warmup_epochs == 0


def detection_fine_tuning(config) -> None:
    """Fine-tuning on COCO: 70 epochs, batches of 16, here of eight processes."""
    detection(config.train, 1e-4, [35, 50, 60])
    assert config.train.epochs == 70
    assert 8 * config.data.batch_size * config.train.accumulate == 16


def detection_search(config) -> None:
    """Search on COCO: 50 epochs, half of the batches for the windows; then the fine-tuning."""
    search = config.search
    assert (search.epochs, search.window_share) == (50, 0.5)
    for recipe in (search.weight_optimizer, search.window_optimizer):
        detection(recipe, 1e-3, [25, 35, 45])
    detection_fine_tuning(config)


RECIPES = {
    TRAINING: fixed_backbone,
    FINE_TUNING: fine_tuning,
    SEARCH: channel_search,
    DNAS: backbone_search,
    CLASSIFICATION[0]: mobilenetv2_classifier,
    CLASSIFICATION[1]: mobilenetv2_classification_search,
    CLASSIFICATION[2]: fbnetv2_classifier,
    CLASSIFICATION[3]: fbnetv2_classification_search,
    DETECTION[0]: detection_search,
    DETECTION[1]: detection_fine_tuning,
}


WITH_RECIPE = [file for file in FILES if any(recipe in file.read_text() for recipe in RECIPES)]


@pytest.mark.parametrize("file", WITH_RECIPE, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_a_command_with_a_recipe_of_the_paper_has_the_papers_numbers(file, composed):
    for arguments, rows in composed(file):
        for recipe in RECIPES.keys() & set(arguments):
            for config in rows.values():
                RECIPES[recipe](config)


def test_every_recipe_of_the_paper_stands_in_the_header_of_its_file(composed):
    for recipe in [*CLASSIFICATION, *DETECTION]:
        assert any(recipe in arguments for arguments, _ in composed(REPOSITORY / recipe)), recipe


def test_a_search_in_detection_ends_with_the_fine_tuning(composed):
    searched, tuned = (
        next(rows[""] for arguments, rows in composed(REPOSITORY / recipe) if recipe in arguments)
        for recipe in DETECTION
    )
    assert searched.train == replace(tuned.train, init="")
    assert searched.data == tuned.data


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", sorted(CONFIGS.glob("ablation/*.yaml")), ids=lambda file: file.stem
)
def test_every_row_of_a_table_can_start(file, composed):
    for _, rows in composed(file):
        for config in rows.values():
            if not isinstance(config, TrainRun):
                continue  # the training of initial weights
            train = replace(config.train, capture=False, init="")  # a GPU, and a file
            config = replace(config, train=train)
            (check_search if isinstance(config, SearchRun) else check_training)(config)


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
        if f"configs/ablation/{table}.yaml" not in arguments:
            continue  # the training of its initial weights
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
    compared = ["base_longer", "sa_longer", "base_warm", "sa_warm"]
    published = ["dcs_mask", "dcs_mask_softmax", "dcs_ib"]
    assert list(small) == [*rows, *compared, *published]
    lengths = {row: (config.search.epochs, config.train.epochs) for row, config in small.items()}
    assert {lengths[row] for row in rows} == {(3, 10)}
    assert lengths["base_longer"][1] == lengths["sa_longer"][1] == 3 + 10
    assert small["base_warm"].search.retrain == small["sa_warm"].search.retrain == "warm_frozen"
