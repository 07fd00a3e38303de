"""A rehearsal of the detection benchmark."""

import runpy
import sys

import pytest
from helpers.paths import REPOSITORY


@pytest.mark.slow
@pytest.mark.release
def test_the_benchmark_writes_its_table(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    names = ["mobilenetv2_base", "mobilenetv2_dcs"]
    size = ["--height", "64", "--width", "96", "--batch", "1", "--rounds", "1"]
    size += ["--samples", "8", "--channels", "8"]
    output = tmp_path / "table.md"
    arguments = ["--networks", *names, *size, "--device", "cpu", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["detection.py", *arguments])
    runpy.run_path(str(REPOSITORY / "benchmarks/detection.py"), run_name="__main__")
    rows = [line for line in output.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == names
    assert "%" in rows[1] and "%" not in rows[0]
