"""glibc reuses the memory of freed tensors."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from reid_dcs.runtime.device import choose_device

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2**24) for _ in range(4)]  # 256 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults(), faults()
choose_device("cpu")
after = [faults() for _ in range(6)]  # the heap grows in the first ones
print(before[-1], after[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc and Linux")
def test_freed_memory_is_reused():
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, after = map(int, found.split())
    assert before > 100 and after <= before / 2  # a tensor may not fit into a freed block
