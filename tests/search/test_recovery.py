"""The evidence for the default reading: windows that find the channels that carry the signal."""

import runpy

import pytest


@pytest.mark.slow
def test_mask_finds_the_channels_and_interp_does_not(request):
    script = runpy.run_path(str(request.config.rootpath / "benchmarks/studies/recovery.py"))
    found = {
        mode: sum(script["recover"](mode, "SGD 0.3", place, 0) > 0.7 for place in script["PLACES"])
        for mode in ("mask", "interp")
    }
    assert found["mask"] >= 5 and found["interp"] <= 1, found  # of nine starts
