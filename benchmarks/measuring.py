"""Measurement of time and memory, and output of the result page."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.profiler import profile


def synchronize(device: torch.device) -> None:
    """Wait for the kernels of a GPU; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time one call of ``run``, with the device synchronized before and after."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def best_seconds(run: Callable[[], object], device: torch.device, rounds: int = 10) -> float:
    """Fastest of ``rounds`` calls, after two warm-up calls."""
    return min([seconds(run, device) for _ in range(2 + rounds)][2:])


def peak_mib(run: Callable[[], object]) -> float:
    """Peak of the memory that ``run`` allocates, in MiB."""
    with profile(profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak / 2**20


class PeakMemory(threading.Thread):
    """Thread that samples memory until :meth:`stop`, which returns the peak.

    Args:
        memory: function that returns the current memory in bytes.
        interval: seconds between samples.
    """

    def __init__(self, memory: Callable[[], int], interval: float) -> None:
        super().__init__(daemon=True)
        self.memory, self.interval = memory, interval
        self.peak, self.stopped = memory(), threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(self.interval):
            self.peak = max(self.peak, self.memory())

    def stop(self) -> int:
        """Peak memory in bytes since the start."""
        self.stopped.set()
        self.join()
        return self.peak


def write_page(lines: Sequence[str], output: Path | None) -> None:
    """Print a Markdown page, and write it to ``output`` if given."""
    page = "\n".join(lines)
    print(page)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(f"{page}\n")
