"""benchmarks/studies/rows.py: the table and the curves of the folders that an ablation writes."""

import json
import os
import runpy

import pytest
import torch
from helpers.paths import REPOSITORY
from PIL import Image

MAP = {("base", 1): 0.30, ("base", 2): 0.50, ("dcs", 1): 0.34, ("dcs", 2): 0.52, ("dcs", 3): 0.9}


def history(epochs):
    return [{"identity": 5.0 - n, "seconds": 1800.0, "mAP": 0.1 * n} for n in range(epochs)]


@pytest.fixture
def folder(tmp_path):
    """Five finished runs, one of which has been searched, and one that is not finished."""
    for (row, seed), value in MAP.items():
        run = tmp_path / f"{row}/seed-{seed}"
        run.mkdir(parents=True)
        metrics = {"mAP": value, "rank1": 2 * value / 3, "mINP": value / 10}
        (run / "metrics.json").write_text(json.dumps(metrics))
        (run / "environment.json").write_text(json.dumps({"commit": f"{seed}bcdef0123456789"}))
        torch.save({"history": history(4)}, run / "checkpoint.pt")
    searched = tmp_path / "dcs/seed-1"
    (searched / "search").mkdir()
    torch.save({"history": history(2)}, searched / "search/checkpoint.pt")
    block = {"selected": {"mean": 0.25}, "saturated": {"selected": 0.1}}
    blocks = {"first": block, "second": block | {"selected": {"mean": 0.75}}}
    (searched / "windows.json").write_text(json.dumps({"blocks": blocks}))
    (tmp_path / "base/seed-1/windows.json").write_text(json.dumps({"blocks": {}}))  # a control
    rows = {"as_trained": {"mAP": 0.34}, "all_channels": {"mAP": 0.31}}
    (searched / "worth.json").write_text(json.dumps({"rows": rows}))
    (tmp_path / "sa/seed-1").mkdir(parents=True)
    torch.save({"history": history(1)}, tmp_path / "sa/seed-1/checkpoint.pt")
    return tmp_path


def table(folder, capsys, monkeypatch, *arguments):
    script = REPOSITORY / "benchmarks/studies/rows.py"
    monkeypatch.setattr("sys.argv", [str(script), str(folder), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    header, _, *rows = lines
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_figures_are_means_over_seeds_and_differences_are_paired(folder, capsys, monkeypatch):
    rows = table(folder, capsys, monkeypatch, "--against", "base")
    assert set(rows) == {"base", "dcs"}  # sa is not finished
    assert rows["base"]["mAP"] == "40.0 ± 14.1" and rows["base"]["mAP less that of base"] == "-"
    assert rows["dcs"]["seeds"] == "3"
    assert rows["dcs"]["mAP less that of base"] == "+3.0 ± 1.0"  # +4 and +2; seed 3 has no pair
    assert rows["dcs"]["commit"] == "1bcdef0, 2bcdef0, 3bcdef0"


def test_rows_are_in_the_order_in_which_they_were_finished(folder, capsys, monkeypatch):
    (folder / "base/seed-1/worth.json").write_text("{}")  # written later
    assert list(table(folder, capsys, monkeypatch)) == ["base", "dcs"]
    os.utime(folder / "dcs/seed-1/metrics.json", (0, 0))
    assert list(table(folder, capsys, monkeypatch)) == ["dcs", "base"]


def test_hours_windows_and_their_worth_are_those_of_the_runs_that_have_them(
    folder, capsys, monkeypatch
):
    rows = table(folder, capsys, monkeypatch)
    assert rows["base"]["hours"] == "2.00" and rows["dcs"]["hours"] == "2.33"  # (3 + 2 + 2) / 3
    values = [(row["selected"], row["saturated"], row["worth"]) for row in rows.values()]
    assert sorted(values) == [("-", "-", "-"), ("50.0", "10.0", "3.0")]


def test_curves_are_drawn_of_unfinished_runs_too(folder, capsys, monkeypatch, tmp_path):
    table(folder, capsys, monkeypatch, "--curves", str(tmp_path / "curves.png"))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1800, 480)
