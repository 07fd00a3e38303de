"""Settings of earlier versions."""

import pytest
import yaml
from helpers.settings import refused

from reid_dcs import InputError
from reid_dcs.config import (
    EvaluateRun,
    SearchRun,
    TrainRun,
    compose,
    to_layer,
    upgraded,
)
from reid_dcs.config.settings import RENAMED
from reid_dcs.engine import check_same_run


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
