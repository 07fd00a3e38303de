"""The device's memory is kept, and its pages are huge where the kernel has such."""

import subprocess
import sys
from pathlib import Path

import pytest

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PROGRAM = """
import resource
import torch
from reid_dcs.engine.device import choose_device

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2**24) for _ in range(4)]  # 256 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults(), faults()
choose_device("cpu")
after = faults(), faults()
rollup = open("/proc/self/smaps_rollup")
print(before[1], *after, [line.split()[1] for line in rollup if "AnonHugePages" in line][0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc and Linux")
def test_freed_memory_is_kept():
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, first, again, huge = map(int, found.split())  # huge in KiB
    pages = 2**28 // 2**12
    assert before > pages / 2  # what there is to gain
    assert again < pages / 100
    if THP.is_file() and "[never]" not in THP.read_text():
        assert first < pages / 2
        assert huge > 2**17
