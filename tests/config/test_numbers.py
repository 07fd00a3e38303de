"""Every number of the settings is finite and has bounds."""

from dataclasses import fields, is_dataclass

import pytest
from helpers.settings import refused

from reid_dcs import InputError
from reid_dcs.config import (
    EvaluateRun,
    SearchRun,
    compose,
)

RANGES = {
    "at least 0": """seed data.padding data.mixup train.learning_rate train.momentum
        train.weight_decay train.warmup_epochs train.frozen_epochs train.clip_norm train.ema
        train.label_smoothing train.margin train.triplet_weight train.ib_weight data.flip
        data.erasing data.brightness data.contrast eval.every search.target_gmacs
        search.cost_weight search.epochs""",
    "at least 1": """data.batch_size data.num_instances train.epochs train.accumulate
        eval.batch_size""",
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
