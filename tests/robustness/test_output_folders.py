"""Output folders: one writer, and only what runs have written is moved or overwritten."""

from types import SimpleNamespace

import pytest
import torch
from helpers.commands import assert_refused

from reid_dcs import InputError, runs
from reid_dcs.config.settings import ImagesConfig
from reid_dcs.jobs.output import TRAINING_FILES, OutputFolder
from reid_dcs.runs.outside import check_outside_data

FILES = ("checkpoint.pt", "metrics.json", "config.yaml")
OF_THE_USER = {
    "thesis.tex": "a thesis",
    ".key.pt.bak": "a key",
    "earlier-1/notes.txt": "notes",
    "events.out.tfevents.1.host": "of another program",
    "checkpoint.pt.bak": "a copy",
}


@pytest.fixture
def folder(tmp_path):
    """A folder of a user's."""
    for name, text in OF_THE_USER.items():
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "home"


def write_run(folder, text, **options):
    with OutputFolder(folder) as output:
        output.open(FILES, **options)
        for name in FILES:
            (folder / name).write_text(text)
        (folder / f"events.out.tfevents.{text}.reid-dcs").write_text(text)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_run_moves_only_what_runs_have_written(folder):
    write_run(folder, "first", fresh=True)
    write_run(folder, "second", fresh=True)
    write_run(folder, "third", fresh=True)
    for name, text in OF_THE_USER.items():
        assert (folder / name).read_text() == text
    for number, text in ((2, "first"), (3, "second")):
        aside = folder / f"earlier-{number}"  # the user's is the first
        events = f"events.out.tfevents.{text}.reid-dcs"
        assert {path.name for path in aside.iterdir()} == {*FILES, events, "reid_dcs_files.json"}
        assert {(aside / name).read_text() for name in (*FILES, events)} == {text}
    assert (folder / "checkpoint.pt").read_text() == "third"


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_user_is_not_overwritten(folder, name):
    (folder / name).write_text("mine")
    before = content(folder)
    with pytest.raises(InputError, match=f"holds {name}, which no run has written"):
        write_run(folder, "first", fresh=True)
    with OutputFolder(folder) as output:
        with pytest.raises(InputError, match=name):
            output.check(FILES)
    assert content(folder) == before


def test_the_files_of_a_version_without_lists_are_recognized(folder):
    write_run(folder, "first", fresh=True)
    (folder / "reid_dcs_files.json").unlink()
    with pytest.raises(InputError, match="no run has written"):
        write_run(folder, "second", fresh=True)
    (folder / "environment.json").write_text('{"command": [], "reid_dcs": "0", "packages": {}}')
    write_run(folder, "second", fresh=True)
    assert (folder / "earlier-2/checkpoint.pt").read_text() == "first"
    (folder / "reid_dcs_files.json").unlink()
    (folder / "environment.json").unlink(missing_ok=True)
    write_run(folder, "third", resumed=True)  # from a checkpoint that is there
    assert (folder / "checkpoint.pt").read_text() == "third"


@pytest.mark.parametrize("listed", ["", "[", "[]", '{"files": 3}', '{"files": [1]}', "[" * 10**5])
def test_a_damaged_list_is_refused(folder, listed):
    (folder / "reid_dcs_files.json").write_text(listed)
    with pytest.raises(InputError, match="reid_dcs_files.json is damaged"):
        write_run(folder, "first", fresh=True)


def test_a_list_that_is_a_folder_is_refused_when_it_is_checked(folder):
    (folder / "reid_dcs_files.json").unlink(missing_ok=True)
    (folder / "reid_dcs_files.json").mkdir()
    with OutputFolder(folder) as output, pytest.raises(InputError, match="^cannot read"):
        output.check(["metrics.json"])


def test_a_list_leads_to_no_other_folder(tmp_path, folder):
    (tmp_path / "other.txt").write_text("mine")
    (folder / "reid_dcs_files.json").write_text('{"files": ["../other.txt", "metrics.json"]}')
    (folder / "metrics.json").write_text("of a run")
    write_run(folder, "first", fresh=True)
    assert (tmp_path / "other.txt").read_text() == "mine"
    assert (folder / "earlier-2/metrics.json").exists()


def test_there_is_one_writer(folder):
    with OutputFolder(folder):
        with pytest.raises(InputError, match="another run is writing to"), OutputFolder(folder):
            pass
    with OutputFolder(folder / "new") as first, OutputFolder(folder / "new") as second:
        first.open(FILES)
        with pytest.raises(InputError, match="another run is writing to"):
            second.open(FILES)
    with OutputFolder(folder), OutputFolder(folder / "new"):  # they have ended
        pass
    assert not list(folder.rglob("*.lock"))


@pytest.mark.parametrize(
    "images, name, refused, accepted",
    [
        (["sets/market/train", "sets/market/query"], "market1501", ["sets/market/x"], ["sets/x"]),
        (["sets/train", "sets/query"], "market1501", ["sets", "sets/out/x"], ["x"]),
        (["sets/train"], "folder", ["sets", "sets/x"], ["x", "sets-2"]),
        (["far/a", "far/b"], "folder", ["sets", "far/a/x"], ["x", "far/x"]),
        (["sets/linked"], "msmt17", ["sets/linked/x"], ["sets/x"]),
    ],
)
def test_an_output_folder_is_not_among_the_data(tmp_path, images, name, refused, accepted):
    items = [(str(tmp_path / folder / "1.jpg"), 0, 0, 0) for folder in images]
    dataset = SimpleNamespace(train=items[:1], query=items[1:], gallery=[])
    data = ImagesConfig(name, str(tmp_path / "sets"))
    (tmp_path / "sets").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sets")
    for output in refused:
        with pytest.raises(InputError, match="a folder of the data set"):
            check_outside_data(tmp_path / output, data, dataset)
        if output.startswith("sets/"):
            with pytest.raises(InputError, match="a folder of the data set"):
                check_outside_data(tmp_path / output.replace("sets/", "link/"), data, dataset)
    for output in accepted:
        check_outside_data(tmp_path / output, data, dataset)


@pytest.fixture
def job(small_network, tiny_root):
    return {
        "model": {"name": small_network},
        "data": {"root": str(tiny_root), "batch_size": 16},
        "train": {"epochs": 1},
        "device": "cpu",
    }


@pytest.mark.slow
def test_runs_in_a_folder_of_the_user(job, folder, tmp_path):
    """Train, evaluate beside a writer, resume from elsewhere, and into the data set."""
    metrics = runs.train(job | {"output_dir": str(folder)})
    assert {*TRAINING_FILES} - {"previous.pt"} <= {path.name for path in folder.iterdir()}
    for name, text in OF_THE_USER.items():
        assert (folder / name).read_text() == text
    weights = {"eval": {"weights": str(folder / "checkpoint.pt")}, "data": job["data"]}
    weights["data"] = {"root": job["data"]["root"]}
    with OutputFolder(folder):
        assert runs.evaluate(weights)["mAP"] == metrics["mAP"]
        for run in (runs.train, runs.evaluate):
            settings = job if run is runs.train else weights
            with pytest.raises(InputError, match="another run is writing to"):
                run(settings | {"output_dir": str(folder)})
    second = tmp_path / "second"
    runs.train(job | {"output_dir": str(second), "seed": 2})
    runs.train(job | {"output_dir": str(second), "resume": str(folder / "checkpoint.pt")})
    assert torch.load(second / "earlier-1/checkpoint.pt", weights_only=True)["config"]["seed"] == 2
    inside = f"{job['data']['root']}/synthetic/query/run"
    with pytest.raises(InputError, match="a folder of the data set"):
        runs.train(job | {"output_dir": inside})
    assert not list(folder.glob(".reid*")) and (folder / ".key.pt.bak").exists()


@pytest.mark.parametrize(
    "key, value",
    [(key, None) for key in ("optimizer", "scheduler", "rng", "epoch", "history", "best")]
    + [("state_dict", {}), ("optimizer", {}), ("optimizer", {"weights": 3}), ("epoch", -1)]
    + [("config", 3), ("config", {"train": 3}), ("history", [3]), ("rng", [torch.zeros(2)])],
)
def test_a_checkpoint_with_a_wrong_part_is_refused(job, run_of_job, tmp_path, tool, key, value):
    content = torch.load(run_of_job / "checkpoint.pt", weights_only=True)
    content[key] = value
    if value is None:
        del content[key]
    torch.save(content, tmp_path / "wrong.pt")
    options = ["--model", job["model"]["name"], "--root", job["data"]["root"], "device=cpu"]
    options += ["data.batch_size=16", "train.epochs=1", "resume=wrong.pt"]
    assert_refused(tool("train_reid.py", *options, "--output-dir", "out"), "wrong.pt")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def run_of_job(small_network, tiny_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = {"root": str(tiny_root), "batch_size": 16}
    train = {"data": data, "train": {"epochs": 1}, "device": "cpu", "output_dir": str(folder)}
    runs.train(train | {"model": {"name": small_network}})
    return folder
