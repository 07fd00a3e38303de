"""benchmarks/table9.py: the paper's ratios, and a measurement at a small scale."""

import csv
import runpy
from collections import Counter

import pytest
from helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def table9():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        yield runpy.run_path(str(REPOSITORY / "benchmarks/table9.py"))


def test_an_epoch_of_search_is_longer_than_one_of_training_in_the_paper(table9):
    assert [round(row.ratio, 2) for row in table9["ROWS"]] == [1.41, 1.49, 1.9]


def test_the_recipes_are_the_papers(table9):
    fixed, deep, learned = (table9["settings"](row) for row in table9["ROWS"])
    for config in (fixed, deep, learned):
        assert (config.data.height, config.data.width, config.data.batch_size) == (256, 128, 64)
        assert config.search.epochs == 300
    assert (fixed.train.epochs, learned.train.epochs) == (600, 400)


def test_an_epoch_has_the_batches_of_the_sampler(table9):
    """An identity of n images has n / 4 groups, rounded up; 16 groups are a batch."""
    images = Counter(table9["market_pids"]().tolist()).values()
    assert (len(images), sum(images)) == (751, 12936)
    for row in table9["ROWS"]:
        config = table9["settings"](row)
        assert (config.data.batch_size, config.data.num_instances) == (64, 4)
        assert table9["batches_of_an_epoch"](config) == 219 == sum(-(-n // 4) for n in images) // 16


def test_its_identities_have_as_many_images_as_those_of_market1501(table9, shared):
    with open(shared / "data/splits/names/market1501_train.csv") as file:
        images = Counter(pid for pid, _ in csv.reader(file))
    found = Counter(table9["market_pids"]().tolist())
    assert Counter(found.values()) == Counter(images.values())


@pytest.mark.slow
def test_hours_follow_from_the_steps(table9, monkeypatch):
    """With steps that take 2 s in the weights' turn, 3 in the windows', 1 in the training."""
    row = table9["ROWS"][2]
    turns = iter([2.0, 3.0, 1.0] * 3)  # two rounds of warm-up

    def seconds(run, device):
        run()
        return next(turns)

    monkeypatch.setitem(table9["measure"].__globals__, "seconds", seconds)
    config = table9["settings"](row, height=32, width=32, batch=8)
    measured = table9["measure"](row, config, rounds=1)
    assert measured == ((1757 - 351) * 2 + 351 * 3, 1757)
    line = table9["as_line"](row, measured)
    assert f"| {measured.search * 300 / 3600:.1f} |" in line and f"`{row.model}`" in line
