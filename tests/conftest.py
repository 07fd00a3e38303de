"""What tests share: small generated data, and real data where there is any."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from helpers.paths import REPOSITORY
from helpers.small_run import Network

from reid_dcs.data.datasets.synthetic import Synthesis, draw_dataset
from reid_dcs.models import registry


def pytest_configure(config: pytest.Config) -> None:
    """Workers share the cores: with all threads each, they would wait for each other's."""
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if workers:
        threads = max(1, os.cpu_count() // int(workers))
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the commands that tests start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: nobody then waits for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_demo.py")


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory) -> Path:
    """A data root whose generated set is small: 8 + 6 identities, 2 pictures a camera."""
    root = tmp_path_factory.mktemp("datasets")
    draw_dataset(root / "synthetic", Synthesis(train_identities=8, test_identities=6, pictures=2))
    return root


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and weights that the repository must not hold."""
    folder = Path(os.environ.get("REID_DCS_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("no real data: REID_DCS_SHARED names no folder")
    return folder


@pytest.fixture(scope="session")
def market1501_root(shared, tmp_path_factory) -> Path:
    """The real Market-1501, unzipped."""
    archives = [shared / f"data/market1501/market1501_{part}.zip" for part in ("train", "test")]
    if not all(archive.is_file() for archive in archives):
        pytest.skip("no Market-1501 under REID_DCS_SHARED")
    root = tmp_path_factory.mktemp("market1501")
    for archive in archives:
        subprocess.run([sys.executable, "-m", "zipfile", "-e", archive, root], check=True)
    return root


@pytest.fixture(scope="module")
def small_network() -> Iterator[str]:
    """The name of a network that whole runs train in a second, in torchreid's model zoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._TORCHREID_ZOO, "small", Network)
        yield "small"


@pytest.fixture(scope="session")
def processes():
    """Makes processes, to be killed or to train together, that have PyTorch imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.small_run"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run a command of tools/ in an empty folder: ``tool("train_reid.py", "train.epochs=1")``.

    In this process, which has PyTorch imported already.
    """
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
        script = str(REPOSITORY / "tools" / name)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
        return subprocess.CompletedProcess(sys.argv, status, *capsys.readouterr())

    return run
