"""A search as one job: its phases, what it leaves, where it goes on."""

import json
import re
import shutil

import pytest
import torch

from reid_dcs import InputError, runs
from reid_dcs.data.store import ImageStore
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.jobs.windows import write_windows
from reid_dcs.search.engine import SearchEngine


@pytest.fixture(scope="module")
def decoded():
    """Names of the splits that were decoded by the job of ``whole``."""
    return []


@pytest.fixture(scope="module")
def whole(settings, decoded, tmp_path_factory):
    output = tmp_path_factory.mktemp("search")
    decode = ImageStore.decode

    def noted(items, height, width, name, *options):
        decoded.append(name)
        return decode(items, height, width, name, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageStore, "decode", noted)
        return output, runs.search(settings | {"output_dir": str(output)})


@pytest.mark.slow
def test_both_phases_share_one_decoded_data_set_and_one_configuration(whole, decoded):
    assert sorted(decoded) == ["gallery", "query", "train"]
    assert [path.parent for path in whole[0].rglob("config.yaml")] == [whole[0]]
    assert [path.parent for path in whole[0].rglob("environment.json")] == [whole[0]]


@pytest.mark.slow
def test_a_job_leaves_its_windows(whole):
    output, metrics = whole
    assert json.loads((output / "metrics.json").read_text()) == metrics
    windows = json.loads((output / "windows.json").read_text())
    assert len(windows["blocks"]) == 4 and windows["images"] == 24
    for block in windows["blocks"].values():
        assert block["saturated"] == {"length": 0, "selected": 0}
        assert block["variance"]["start"] == pytest.approx({"over_positions": 0, "over_images": 0})
    assert windows["pruned_macs"] < windows["macs"] and windows["difference"] < 1e-5
    assert windows["seconds"] > 0 and windows["pruned_seconds"] > 0
    last = max(output.glob("*.*"), key=lambda file: file.stat().st_mtime_ns)
    assert last.name == "metrics.json"  # a table takes a run that has it as finished
    search, trained = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["state_dict"]
        for folder in (output / "search", output)
    )
    for name in search:
        if "_logit" in name:
            assert torch.equal(search[name], trained[name]) and search[name] != 0


@pytest.mark.slow
@pytest.mark.parametrize("engine, epoch", [(SearchEngine, 1), (ReIDEngine, 1)])
def test_a_job_goes_on_in_the_phase_that_it_was_in(
    settings, whole, tmp_path, monkeypatch, capsys, engine, epoch
):
    class Stopped(Exception):
        pass

    original = ReIDEngine.train

    def stop(self):
        if type(self) is engine and self.epoch == epoch:
            raise Stopped
        return original(self)

    job = settings | {"output_dir": str(tmp_path)}
    monkeypatch.setattr(ReIDEngine, "train", stop)
    with pytest.raises(Stopped):
        runs.search(job)
    monkeypatch.undo()
    capsys.readouterr()
    runs.search(job)
    assert ("search\n" in capsys.readouterr().out) == (engine is SearchEngine)
    first, again = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["state_dict"]
        for folder in (whole[0], tmp_path)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.slow
def test_a_file_to_resume_is_one_of_the_search(settings, whole, tmp_path, capsys):
    search = settings | {"output_dir": str(tmp_path)}
    with pytest.raises(InputError, match="checkpoint.pt: not a checkpoint of a search"):
        runs.search(search | {"resume": str(whole[0] / "checkpoint.pt")})
    assert not list(tmp_path.iterdir())
    capsys.readouterr()
    runs.search(search | {"resume": str(whole[0] / "search/checkpoint.pt")})
    assert "search\n" not in capsys.readouterr().out  # it is finished: only the training runs
    first, again = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["state_dict"]
        for folder in (whole[0], tmp_path)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.slow
def test_a_damaged_checkpoint_of_the_training_is_named(settings, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(content | {"optimizer": {}}, tmp_path / "checkpoint.pt")
    search = tmp_path / "search" / "checkpoint.pt"
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))} cannot be resumed"):
        runs.search(settings | {"output_dir": str(tmp_path), "resume": str(search)})


@pytest.mark.slow
def test_without_epochs_of_search_windows_are_trained_along(
    settings, tmp_path, capsys, monkeypatch
):
    described = []

    def noted(network, images, output):
        described.append(network.state_dict())
        return write_windows(network, images, output)

    monkeypatch.setattr("reid_dcs.jobs.job.write_windows", noted)
    job = settings | {"train": {"epochs": 1, "ema": 0.5}}
    trained = runs.train(
        {key: value for key, value in job.items() if key != "search"}
        | {"output_dir": str(tmp_path / "trained")}
    )
    job |= {"search": {"epochs": 0, "calibration": 24}, "output_dir": str(tmp_path / "along")}
    along = runs.search(job)
    assert "search\n" not in capsys.readouterr().out
    assert {**along, "train_seconds": 0} == {**trained, "train_seconds": 0}
    windows = json.loads((tmp_path / "along" / "windows.json").read_text())
    assert windows["blocks"] and not (tmp_path / "along" / "search").exists()
    saved = torch.load(tmp_path / "along" / "checkpoint.pt", weights_only=True)
    averaged, raw = saved["state_dict"], saved["raw_state_dict"]
    assert all(torch.equal(described[0][name], averaged[name]) for name in averaged)
    assert not all(torch.equal(averaged[name], raw[name]) for name in averaged)
    assert runs.search(job)["mAP"] == along["mAP"]  # resume=auto: nothing is left to do


def test_a_backbone_needs_epochs_of_search(settings, tmp_path):
    job = settings | {"model": {"name": "fbnetv2_dcs"}, "output_dir": str(tmp_path / "output")}
    with pytest.raises(InputError, match="search.epochs"):
        runs.search(job | {"search": {"epochs": 0}})
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("architecture", ["synthetic_23m", {"widths": []}])
def test_a_backbone_search_finds_the_architecture_itself(settings, tmp_path, architecture):
    model = {"name": "fbnetv2_dcs", "options": {"architecture": architecture}}
    job = settings | {"model": model, "output_dir": str(tmp_path / "output")}
    with pytest.raises(InputError, match="model.options.architecture: a backbone search finds"):
        runs.search(job)
    assert not (tmp_path / "output").exists()


def test_a_search_mixes_no_images(settings, tmp_path, small_network, monkeypatch):
    mixed, losses = {}, ReIDEngine.losses

    def noted(engine, batch):
        mixed.setdefault(type(engine), set()).add("partner" in batch)
        return losses(engine, batch)

    monkeypatch.setattr(ReIDEngine, "losses", noted)
    job = settings | {"model": {"name": small_network}, "output_dir": str(tmp_path)}
    job |= {"train": {"epochs": 1}, "search": {"epochs": 1, "retrain": "warm_frozen"}}
    runs.search(job | {"data": settings["data"] | {"mixup": 0.2}})
    assert mixed == {SearchEngine: {False}, ReIDEngine: {True}}


@pytest.mark.slow
def test_a_backbone_is_searched_derived_and_trained(settings, tmp_path):
    job = settings | {"output_dir": str(tmp_path), "model": {"name": "fbnetv2_dcs_sw"}}
    job |= {
        "train": {"epochs": 1},
        "search": {"epochs": 1, "calibration": 8, "target_gmacs": 0.005},
    }
    metrics = runs.search(job)
    found = json.loads((tmp_path / "architecture.json").read_text())
    assert found["space"] == "fbnetv2" and len(found["widths"]) == 18
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["model"]["options"]["architecture"]["widths"] == found["widths"]
    evaluated = runs.evaluate(
        {
            "eval": {"weights": str(tmp_path / "checkpoint.pt")},
            "data": {"root": settings["data"]["root"]},
        }
    )
    assert evaluated["mAP"] == metrics["mAP"]
    again = runs.search(job)  # all is done: it is evaluated once more
    assert again["mAP"] == metrics["mAP"]


def test_a_target_for_a_network_without_a_choice_is_refused(settings, tmp_path):
    job = settings | {"output_dir": str(tmp_path / "run"), "search": {"target_gmacs": 0.1}}
    with pytest.raises(InputError, match="search.target_gmacs: the cost of mobilenetv2_dcs_sw"):
        runs.search(job)
    assert not (tmp_path / "run").exists()
