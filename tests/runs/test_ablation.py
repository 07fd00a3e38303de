"""Rows of an ablation: each is run once, and all become one table."""

import json
import sys

import pytest

from reid_dcs import InputError, runs
from reid_dcs.engine import read_checkpoint
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.runs.ablation import as_markdown


@pytest.mark.slow
def test_an_ablation_makes_a_table_and_does_nothing_twice(settings, tmp_path, monkeypatch, capsys):
    rows = {
        "base": {"model": {"name": "mobilenetv2_base"}, "paper": {"market1501": [78.9, 92.0]}},
        "dcs_sw": {"train": {"learning_rate": 1e-3}},
    }
    job = settings | {"output_dir": str(tmp_path), "ablation": {"rows": rows, "seeds": [1, 2]}}
    job |= {"train": {"epochs": 1}, "search": {"epochs": 1, "calibration": 8}}
    table = runs.search(job)
    assert {row: len(found) for row, found in table.items()} == {"base": 2, "dcs_sw": 2}
    assert (tmp_path / "table.md").read_text() == as_markdown(table, {})
    assert (tmp_path / "dcs_sw/seed-2/windows.json").exists()
    assert not (tmp_path / "base/seed-1/search").exists()
    monkeypatch.setattr(ReIDEngine, "train", None)  # nothing is trained any more
    assert runs.search(job) == table
    assert "| base | 2 |" in capsys.readouterr().out


def test_trainings_make_a_table_too(tmp_path, monkeypatch):
    def trained(config, device):
        figure = config.train.epochs / 10 + config.seed / 100
        return {"mAP": figure, "rank1": figure, "params": 10**6, "total_macs": 10**9}

    monkeypatch.setattr(sys.modules["reid_dcs.runs.train"], "run_training", trained)
    rows = {"short": {"train": {"epochs": 1}}, "long": {"train": {"epochs": 2}}}
    ablation = {"rows": rows, "seeds": [1, 2]}
    table = runs.train({"output_dir": str(tmp_path), "ablation": ablation, "device": "cpu"})
    figures = {row: [metrics["mAP"] for metrics in found] for row, found in table.items()}
    assert figures == {"short": pytest.approx([0.11, 0.12]), "long": pytest.approx([0.21, 0.22])}
    assert "| short | 2 | 1.00 | 1.0000 | 11.5 ± 0.7 |" in (tmp_path / "table.md").read_text()


@pytest.fixture
def one_row(settings, small_network, tmp_path):
    """A table of one row, and the folder of its run."""
    job = {key: value for key, value in settings.items() if key not in ("search", "resume")}
    job |= {"model": {"name": small_network}, "ablation": {"rows": {"a": {}}, "seeds": [1]}}
    job |= {"train": {"epochs": 1, "schedule": "step"}, "output_dir": str(tmp_path)}
    return job, tmp_path / "a/seed-1"


class Stopped(Exception):
    pass


def stop(engine):
    raise Stopped


def test_a_run_that_is_trained_longer_is_not_finished_before_its_end(one_row, monkeypatch):
    job, run = one_row
    runs.train(job)
    longer = job | {"train": {"epochs": 2, "schedule": "step"}}
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(ReIDEngine, "train", stop)
        runs.train(longer)
    assert not (run / "metrics.json").exists()
    (metrics,) = runs.train(longer)["a"]
    content = read_checkpoint(run / "checkpoint.pt")
    assert content["epoch"] == 2 and content["metrics"] == metrics


def test_an_evaluation_in_a_runs_folder_is_not_the_runs_result(one_row):
    job, run = one_row
    table = runs.train(job)
    options = {"weights": str(run / "checkpoint.pt"), "rerank": True}
    runs.evaluate(
        {"eval": options, "output_dir": str(run)}
        | {key: job[key] for key in ("model", "data", "device")}
        | {"data": {"root": job["data"]["root"]}}
    )
    assert json.loads((run / "metrics.json").read_text())["rerank"]
    assert runs.train(job) == table


@pytest.mark.slow
def test_a_training_is_no_finished_search(one_row, monkeypatch):
    """Not even of the default settings, which the settings of a training are completed with."""
    job, run = one_row
    job |= {"model": {"name": "mobilenetv2_dcs_sw"}}
    job |= {"data": job["data"] | {"height": 32, "width": 16}}
    runs.train(job)
    monkeypatch.setattr(ReIDEngine, "train", stop)
    with pytest.raises(Stopped):
        runs.search(job)
    assert (run / "earlier-1/metrics.json").exists() and (run / "search").is_dir()


def test_the_papers_figures_are_those_of_the_data_set(tmp_path, monkeypatch):
    def trained(config, device):
        return {"mAP": 0.5, "rank1": 0.6, "params": 10**6, "total_macs": 10**9}

    monkeypatch.setattr(sys.modules["reid_dcs.runs.train"], "run_training", trained)
    figures = {"market1501": [84.5, 93.9], "msmt17": [36.9, 63.6]}
    ablation = {"rows": {"dcs": {"paper": figures}}, "seeds": [1]}
    shown = {"market1501": "84.5 | 93.9", "msmt17": "36.9 | 63.6", "cuhk03": "- | -"}
    for name, pair in shown.items():
        config = {"output_dir": str(tmp_path), "data": {"name": name}, "ablation": ablation}
        runs.train(config | {"device": "cpu"})
        assert f"| 50.0 | 60.0 | {pair} |" in (tmp_path / "table.md").read_text()


def test_a_table_has_mean_and_deviation_beside_the_papers():
    cost = {"params": 2_230_000, "total_macs": 22_600_000}
    table = {
        "base": [{"mAP": 0.5, "rank1": 0.8} | cost, {"mAP": 0.6, "rank1": 0.9} | cost],
        "sa": [{"mAP": 0.25, "rank1": 0.5} | cost],
        "dcs": [],
    }
    assert as_markdown(table, {"base": [78.9, 92.0]}).splitlines()[2:] == [
        "| base | 2 | 2.23 | 0.0226 | 55.0 ± 7.1 | 85.0 ± 7.1 | 78.9 | 92.0 |",
        "| sa | 1 | 2.23 | 0.0226 | 25.0 | 50.0 | - | - |",
    ]


@pytest.mark.parametrize(
    "row, said",
    [
        ({"model": {"name": "mobilenetv2_dsc"}}, "unknown model 'mobilenetv2_dsc'"),
        ({"train": {"epoch": 1}}, "train.epoch"),
        (
            {"model": {"name": "osnet_x0_25"}, "train": {"triplet_feature": "after_neck"}},
            "after_neck: osnet_x0_25 is not a network of this package",
        ),
        ({"train": {"ib_weight": 0.1}, "data": {"mixup": 0.2}}, "train.ib_weight: its centers"),
        ({"train": {"capture": True}, "device": "cpu"}, "train.capture: it needs a CUDA device"),
        (
            {"model": {"name": "mobilenetv2_dcs_mask"}, "search": {"window_steps": "separate"}},
            "search.window_steps: dcs_mask has no windows",
        ),
        (
            {"model": {"name": "mobilenetv2_dcs"}, "search": {"target_gmacs": 0.1}},
            "search.target_gmacs: the cost of mobilenetv2_dcs is fixed",
        ),
        (
            {"model": {"name": "fbnetv2_dcs"}, "train": {"init": "weights.pt"}},
            "train.init: a backbone search starts from scratch",
        ),
        (
            {"model": {"name": "fbnetv2_base"}, "search": {"target_share": 0.5}},
            "search.target_share: the network has no learned windows",
        ),
        (
            {"model": {"name": "mobilenetv2_dcs"}, "data": {"phases": [{"epochs": 1}]}},
            "data.phases",
        ),
        ({"data": {"name": "nonsense"}}, "unknown data set 'nonsense'"),
        ({"train": {"init": "absent.pt"}}, "no weights at"),
        ({"data": {"batch_size": 16, "num_instances": 3}}, "is not a positive multiple"),
        ({"train": {"sync_bn": True}, "device": "cpu"}, "train.sync_bn=true"),
        ({"ablation": {"rows": {"b": {}}}}, "ablation.rows.odd has ablation: a row is one run"),
        ({"seed": 7}, "ablation.rows.odd has seed"),
        ({"resume": "none"}, "ablation.rows.odd has resume"),
        ({"output_dir": "x"}, "ablation.rows.odd has output_dir"),
        (["mobilenetv2_dcs"], "ablation.rows.odd must hold settings"),
        (
            {"paper": [84.5, 93.9]},
            "odd.paper must hold the paper's figures by data set",
        ),
        (
            {"paper": {"market": [84.5, 93.9]}},
            "odd.paper: unknown data set 'market'; known",
        ),
        ({"paper": {"msmt17": [36.9]}}, "odd.paper.msmt17 must be .mAP, rank-1. in per cent"),
    ],
)
def test_a_wrong_row_is_refused_before_any_run(tmp_path, row, said):
    rows = {"base": {"model": {"name": "mobilenetv2_base"}}, "odd": row}
    with pytest.raises(InputError, match=said):
        runs.search({"ablation": {"rows": rows}, "output_dir": str(tmp_path / "out")})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../outside", "./a", "a/b", "", "..", "table.json", "a|b"])
def test_a_row_has_the_name_of_a_folder(tmp_path, name):
    with pytest.raises(InputError, match="must be the name of a folder"):
        runs.train({"ablation": {"rows": {name: {}}}, "output_dir": str(tmp_path / "out")})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("run", [runs.train, runs.search])
def test_seeds_of_no_rows_are_refused(tmp_path, run):
    with pytest.raises(InputError, match=r"ablation.seeds=\[4, 5\] would be ignored"):
        run({"ablation": {"seeds": [4, 5]}, "output_dir": str(tmp_path / "out")})


def test_damaged_metrics_are_those_of_no_finished_run(one_row):
    job, folder = one_row
    runs.train(job)
    whole = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(whole[: len(whole) // 2])
    found = runs.train(job)["a"][0]
    assert found["mAP"] == json.loads(whole)["mAP"]
    assert json.loads((folder / "metrics.json").read_text()) == found


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_different_numbers(seeds, tmp_path):
    ablation = {"rows": {"base": {}}, "seeds": seeds}
    with pytest.raises(InputError, match=r"ablation.seeds must be one or more different numbers"):
        runs.train({"ablation": ablation, "output_dir": str(tmp_path / "out")})
    assert not (tmp_path / "out").exists()
