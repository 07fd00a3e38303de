"""The command for an accelerator, rehearsed: it stops on SIGTERM and goes on where it stopped."""

import json
import os
import signal

import pytest
from helpers.paths import REPOSITORY

from reid_dcs.engine.progress import Progress

pytestmark = [pytest.mark.slow, pytest.mark.release]


@pytest.fixture
def rehearse(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import accelerator

    def run():
        output = tmp_path / "output"
        arguments = ["--minutes", "9", "--output", str(output), "--rehearse"]
        accelerator.main(arguments)
        return output, capsys.readouterr().out

    return run


def test_a_stopped_rehearsal_goes_on_where_it_stopped(rehearse, monkeypatch):
    reads, read = [], Progress.read

    def read_and_stop(progress):
        read(progress)
        reads.append(progress.title)
        if len(reads) == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "read", read_and_stop)
    output, printed = rehearse()
    assert "goes on in" in printed and len(reads) == 20
    files = json.loads((output / "table1/contents.json").read_text())
    assert any(name.endswith("checkpoint.pt") for name in files)
    rows = json.loads((output / "checks.json").read_text())["rows"]
    assert {row["step"] for row in rows} == {"train", "search"} and all(row["ok"] for row in rows)
    done = {name: (output / name).stat().st_mtime_ns for name in ("checks.json", "speed.json")}

    output, printed = rehearse()
    batches = 12 * (2 + 3)  # of two rows; the second one is searched first
    assert len(reads) == batches and "| mobilenetv2_dcs | 1 |" in printed
    assert done == {name: (output / name).stat().st_mtime_ns for name in done}
    table = json.loads((output / "table.json").read_text())
    assert all(0 < row[0]["mAP"] < 1 for row in table.values()) and len(table) == 2
    weights = sorted(path.name for path in (output / "weights").iterdir())
    assert weights == ["mobilenetv2_base.safetensors", "mobilenetv2_dcs.safetensors"]
    files = json.loads((output / "table1/contents.json").read_text())
    assert not any(name.endswith(".pt") for name in files)

    rehearse()
    assert len(reads) == batches  # everything is done
