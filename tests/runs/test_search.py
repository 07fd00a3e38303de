"""A search as one job: what it hands to the training, its phases, its ablations."""

import json
import re
import shutil
import sys

import pytest
import torch

from reid_dcs import InputError, build_model, runs
from reid_dcs.data.store import ImageStore
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.runs.ablation import as_markdown
from reid_dcs.search import search_parameters
from reid_dcs.search.engine import SearchEngine
from reid_dcs.search.transfer import load_search_result


def searched(kind):
    """A network's state after a search: windows and weights away from where they began."""
    torch.manual_seed(1)
    model = build_model(f"mobilenetv2_{kind}", 5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.state_dict()


def fresh(kind):
    torch.manual_seed(2)
    return build_model(f"mobilenetv2_{kind}", 5)


@pytest.mark.parametrize(
    "kind, retrain, weights_come, windows_free",
    [
        ("dcs_sw", "auto", False, False),
        ("dcs_sw", "warm_frozen", True, False),
        ("dcs", "auto", True, False),
        ("dcs", "rebuild", False, False),
        ("dcs", "warm_joint", True, True),
        ("dcs_pos", "auto", True, False),
        ("gsa", "auto", False, False),
    ],
)
def test_what_a_training_takes_from_a_search(kind, retrain, weights_come, windows_free):
    found, model, untouched = searched(kind), fresh(kind), fresh(kind).state_dict()
    load_search_result(model, found, retrain)
    weights, windows, logits = search_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    for parameter in weights:
        source = found if weights_come else untouched
        assert torch.equal(parameter, source[names[id(parameter)]])
        assert parameter.requires_grad == (names[id(parameter)] != "neck.bias")
    for parameter in windows + logits:
        assert parameter.requires_grad == windows_free
    for parameter in windows:
        assert torch.equal(parameter, found[names[id(parameter)]])


def test_a_gumbel_choice_is_made_for_good():
    found, model = searched("gsa"), fresh("gsa")
    load_search_result(model, found, "auto")
    for name, block in model.named_modules():
        if hasattr(block, "logits"):
            assert block.logits.argmax() == found[f"{name}.logits"].argmax()
            tokens = torch.randn(2, 12, block.channels)
            windows = block.windows(tokens)
            drawn = [block.train().attend(tokens, windows) for _ in range(3)]
            for one in drawn:
                torch.testing.assert_close(one, block.eval().attend(tokens, windows))


@pytest.fixture(scope="module")
def settings(tiny_root):
    return {
        "model": {"name": "mobilenetv2_dcs_sw"},
        "data": {"root": str(tiny_root), "height": 64, "width": 32, "batch_size": 16},
        "train": {"epochs": 2},
        "search": {"epochs": 2, "calibration": 24},
        "device": "cpu",
        "resume": "auto",
    }


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
