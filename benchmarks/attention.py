"""Time and memory of windowed attention, forward and backward, against its rivals.

    python benchmarks/attention.py [--layout contiguous]

At the four stages of MobileNetV2 where the paper puts its module, batch 16, everything in one
process: a ratio compares neighbours. `plain` is non-local attention, (1/N) X X^T X, in its cheaper
order, as anyone would write it. `release` is the static block of the authors' release, written
from its description: one window a layer, wrapping around, at least C/4 long, its slices gathered
and interpolated, the affinity an N x N matrix. `gather` follows Eqs. (2)-(5) to the letter: each
position's channels gathered from every position, an N x N x K tensor; it is run on one image and
counted sixteen times, and only where that tensor fits. Prints tables in Markdown.
"""

import argparse
import math
import os
import platform
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import profile

from reid_dcs.attention import channel_attention, windowed_query
from reid_dcs.runtime.device import choose_device

BATCH = 16
STAGES = [(24, 64, 32), (32, 32, 16), (96, 16, 8), (320, 16, 8)]  # (C, H, W)
OURS = [  # mode, M; soft: edges of C / 16
    *(("mask", 1), ("mask", 2), ("bilinear", 1), ("bilinear", 2), ("soft", 1), ("soft", 2)),
    *(("interp", 1), ("interp", 2), ("interp", 4)),
]
ROUNDS, WARMUP, GATHER_LIMIT = 15, 3, 2 * 2**30


def plain(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    positions, channels = tokens.shape[1:]
    if positions <= channels:
        return (tokens @ tokens.mT / positions) @ tokens
    return tokens @ (tokens.mT @ tokens / positions)


def release(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """One window of the layer: the first position's."""
    positions, channels = tokens.shape[1:]
    s, width = start[0, 0, 0], length[0, 0, 0].clamp(min=channels / 4)
    a, k = math.floor(s.item()), math.floor(width.item())

    def interpolated(first: int) -> Tensor:
        """Eqs. (3) and (4): the slice of k channels from ``first``, and the k + 1st by l_dec."""
        taken = tokens[..., [(first + i) % channels for i in range(k + 1)]]
        return torch.cat([taken[..., :-1], taken[..., -1:] * (width - k)], dim=-1)

    d = s - a
    chosen = (1 - d) * interpolated(a) + d * interpolated(a + 1)  # (B, N, k + 1)
    return (chosen @ chosen.mT / positions) @ tokens  # (B, N, N) @ (B, N, C)


def gather(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Eqs. (2)-(5) for one window a position, one image."""
    x, s, width = tokens[0], start[0], length[0]  # (N, C), (N, 1)
    positions, channels = x.shape
    a, d = s.floor(), s - s.floor()
    k = torch.arange(math.ceil(width.max().item()))  # (K,)
    index = a.long() + k  # (N, K)
    padded = F.pad(x, (0, len(k) + 2))
    columns = torch.arange(positions).unsqueeze(-1)  # (N, 1)
    lower, higher = (padded[columns, (index + i).unsqueeze(1)] for i in (0, 1))  # (N, N, K)
    chosen = (width - k).clamp(0, 1).unsqueeze(1) * (
        (1 - d).unsqueeze(1) * lower + d.unsqueeze(1) * higher
    )
    own = chosen.diagonal().mT.unsqueeze(1)  # (N, 1, K): x_i through i's window
    affinity = (own * chosen).sum(-1)  # (N, N)
    return (affinity @ x / positions).unsqueeze(0)


def windowed(mode: str):
    def attend(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
        reading = {"softness": tokens.shape[-1] / 16} if mode == "soft" else {"mode": mode}
        return channel_attention(windowed_query(tokens, start, length, **reading), tokens, tokens)

    return attend


def inputs(stage: tuple[int, ...], windows: int, layout: torch.memory_format) -> list[Tensor]:
    """A feature map, starts and lengths, as a 1x1 convolution would lay them out."""
    channels, height, width = stage
    x = torch.randn(BATCH, *stage)
    share, place = torch.rand(2, BATCH, windows, height, width)
    length = 1 + (channels - 1) * share
    start = (channels - length) * place
    return [v.contiguous(memory_format=layout).requires_grad_() for v in (x, start, length)]


def step(attend, leaves: list[Tensor]):
    """Forward and backward, from the map to the gradients of the map and of the windows."""

    def run() -> None:
        tokens, start, length = (v.flatten(2).mT for v in leaves)  # (B, N, C or M)
        output = attend(tokens, start, length)
        torch.autograd.grad(output, leaves, torch.ones_like(output), allow_unused=True)

    return run


def compare(run, base) -> tuple[float, float]:
    """Milliseconds of ``run``, and their ratio to those of ``base`` run in turn with it."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARMUP + ROUNDS):
        for function, record in zip((run, base), times, strict=True):
            began = time.perf_counter()
            function()
            record.append(time.perf_counter() - began)
    ours, theirs = (sorted(record[WARMUP:])[ROUNDS // 2] for record in times)
    return 1000 * ours, ours / theirs


def peak_mib(run) -> float:
    """The most that is allocated at once beyond what there was before."""
    with profile(profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak / 2**20


def gather_fits(stage: tuple[int, ...]) -> bool:
    channels, height, width = stage
    return 6 * 4 * (height * width) ** 2 * channels < GATHER_LIMIT


def measure(stage: tuple[int, ...], layout: torch.memory_format) -> None:
    ours = {f"{mode}, M = {windows}": (windowed(mode), windows) for mode, windows in OURS}
    leaves = {windows: inputs(stage, windows, layout) for windows in (1, 2, 4)}
    base = step(plain, leaves[1])
    base_mib = peak_mib(base)
    title = f"{stage[0]}@{stage[1]}x{stage[2]}"
    for name, (attend, windows) in ({"plain": (plain, 1), "release": (release, 1)} | ours).items():
        run = step(attend, leaves[windows])
        ms, ratio = compare(run, base)
        mib = peak_mib(run)
        more = f"{ms:.1f} | {ratio:.2f} | {mib:.1f} | {mib / base_mib:.2f}"
        print(f"| {title} | {name} | {more} |", flush=True)
    if gather_fits(stage):
        run = step(gather, [v.detach()[:1].requires_grad_() for v in leaves[1]])
        began = time.perf_counter()
        run()
        ms = 1000 * BATCH * (time.perf_counter() - began)
        mib = BATCH * peak_mib(run)
        base_ms, _ = compare(base, base)
        more = f"{ms:.0f} | {ms / base_ms:.0f} | {mib:.0f} | {mib / base_mib:.0f}"
        print(f"| {title} | gather | {more} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--layout", choices=["channels_last", "contiguous"], default="channels_last"
    )
    options = parser.parse_args()
    layout = getattr(torch, options.layout.replace("contiguous", "contiguous_format"))
    choose_device("cpu")
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, {options.layout}, batch {BATCH}\n\n"
        "| stage | | ms | of plain | MiB | of plain |\n|---|---|---|---|---|---|"
    )
    for stage in STAGES:
        measure(stage, layout)


if __name__ == "__main__":
    main()
