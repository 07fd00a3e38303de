"""Windows that find the channels that carry the signal: which readings, bounds and edges do."""

import runpy

import pytest

from reid_dcs.attention.bounds import BOUNDS


@pytest.fixture(scope="module")
def found(request):
    """Runs of nine that find their window."""
    script = runpy.run_path(str(request.config.rootpath / "benchmarks/studies/recovery.py"))

    def count(reading: str, bounds: str = "clamp", channels: int = 96) -> int:
        return script["recover"](reading, bounds, "Adam", channels, seeds=1).found

    return count


@pytest.mark.slow
def test_soft_edges_find_every_window_hard_ones_some_and_interp_next_to_none(found):
    hard = [found(reading) for reading in ("mask", "bilinear")]
    assert found("soft") == 9
    assert all(3 <= count < 9 for count in hard), hard
    assert found("interp") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("bounds", list(BOUNDS))
def test_soft_edges_find_windows_within_any_bounds(found, bounds):
    assert found("soft", bounds) >= 8
