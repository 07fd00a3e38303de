"""Generated tables are what their scripts would write today."""

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
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == reid_dcs.list_models()
    assert PAGE.startswith(SCRIPT["HEAD"])
    assert PAGE.endswith(SCRIPT["TAIL"])


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "spaces"])
def test_a_table_of_counts_is_fresh(table):
    script = runpy.run_path(str(REPOSITORY / f"benchmarks/studies/{table}.py"))
    written = (REPOSITORY / f"benchmarks/studies/results/{table}.md").read_text()
    assert written == script["page"](), f"run benchmarks/studies/{table}.py"
