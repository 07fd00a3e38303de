"""Processes for tests that kill them, or have several of them train together."""

import multiprocessing
from multiprocessing import forkserver
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def processes():
    """A context whose processes begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["small_run"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        forkserver.ensure_running()
    return context
