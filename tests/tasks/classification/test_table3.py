"""Table 3's counts: the rows that are reproduced, and those that cannot be had."""

import runpy

import pytest
from helpers.paths import REPOSITORY

STUDY = runpy.run_path(str(REPOSITORY / "benchmarks/studies/table3.py"))
ROWS = {row.method: row for row in STUDY["TABLE_3"]}
PAGE = (REPOSITORY / "benchmarks/studies/results/table3.md").read_text()


@pytest.mark.parametrize(
    "method, said",
    [("MobileNetV2", "reproduced"), ("FBNetV2", "cannot be"), ("FBNetV2-L+DCS", "not excluded")],
)
def test_a_row_is_what_its_page_says(method, said):
    row = ROWS[method]
    cost = STUDY["count"](row)
    assert STUDY["verdict"](row, cost).startswith(said)
    assert f"| {method} | {row.flops} | {row.params} | {cost.flops / 1e6:.2f} |" in PAGE
    if not row.searched:
        assert f"{cost.params / 1e6:.2f}" == row.params


def test_a_network_of_table_6_has_the_figures_of_fbnetv2_l():
    row, printed = STUDY["example"](), ROWS["FBNetV2-L+DCS"]
    cost = STUDY["count"](row)
    assert f"{cost.flops / 1e6:.0f}" == printed.flops == "626"
    assert f"{cost.params / 1e6:.2f}" == printed.params == "9.99"
    assert f"| EXAMPLE | 626 | 9.99 | {cost.flops / 1e6:.2f} |" in PAGE


def test_the_page_has_every_row_of_the_table():
    assert all(f"| {method} |" in PAGE for method in ROWS)
