"""Generated tables are up to date with their scripts."""

import runpy

import pytest
from helpers.networks import every_model
from helpers.paths import REPOSITORY

import reid_dcs

SCRIPT = runpy.run_path(str(REPOSITORY / "docs/list_models.py"))
PAGE = SCRIPT["PAGE"].read_text()


@every_model
def test_a_models_line_is_fresh(name):
    assert SCRIPT["row"](name) in PAGE, "run docs/list_models.py"


def test_the_page_of_models_has_every_model_once():
    models, backbones = PAGE.split(SCRIPT["TAIL"])
    assert models.startswith(SCRIPT["HEAD"])
    lines = models.removeprefix(SCRIPT["HEAD"]).splitlines()
    assert [line.split("`")[1] for line in lines] == reid_dcs.list_models()
    names = [name.removesuffix("_base") for name in reid_dcs.list_models("*_base")]
    assert [line.split("`")[1] for line in backbones.splitlines()] == names


def test_a_backbones_line_is_fresh():
    for name in ("mobilenetv2", "osnet_x1_0", "resnet50", "fbnetv2"):
        assert SCRIPT["backbone_row"](name) in PAGE, "run docs/list_models.py"


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2", "spaces"])
def test_a_table_of_counts_is_fresh(table):
    script = runpy.run_path(str(REPOSITORY / f"benchmarks/studies/{table}.py"))
    written = (REPOSITORY / f"benchmarks/studies/results/{table}.md").read_text()
    assert written == script["page"](), f"run benchmarks/studies/{table}.py"
