"""Time and memory of windowed attention, forward and backward, compared with alternatives.

    python benchmarks/attention.py [--layout contiguous]

Measured at the four stages of MobileNetV2 where the paper inserts its module, with batch 16. Each
function alternates with `plain` in one process, so that their ratio does not depend on the drift of
the machine. Prints a table in Markdown. The alternatives:

plain    Non-local attention, (1/N) X X^T X, in the cheaper order of the two products.
release  The static block of the authors' release, implemented from its description: one window per
         layer that wraps around and is at least C/4 long; its slices are gathered and interpolated,
         and the affinities form an N x N matrix.
gather   Eqs. (2)-(5) literally: the channels of each position's window are gathered from every
         position, an N x N x K tensor. Measured on one image, times sixteen, where the tensor fits.
"""

import argparse
import math
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from machine import machine
from measuring import peak_mib, seconds
from torch import Tensor

from reid_dcs.attention import channel_attention, windowed_query
from reid_dcs.runtime.device import choose_device

BATCH = 16
STAGES = [(24, 64, 32), (32, 32, 16), (96, 16, 8), (320, 16, 8)]  # (C, H, W)
MODES = [  # mode, M; soft: edges of C / 16
    *(("mask", 1), ("mask", 2), ("bilinear", 1), ("bilinear", 2), ("soft", 1), ("soft", 2)),
    *(("interp", 1), ("interp", 2), ("interp", 4)),
]
ROUNDS, WARMUP = 15, 3
GATHER_LIMIT = 2 * 2**30  # bytes
CPU = torch.device("cpu")

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of tokens (B, N, C) with window starts and lengths, (B, N, M) each -> (B, N, C)."""


def plain(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    positions, channels = tokens.shape[1:]
    if positions <= channels:
        return (tokens @ tokens.mT / positions) @ tokens
    return tokens @ (tokens.mT @ tokens / positions)


def release(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """The window of the first position, used as that of the layer."""
    positions, channels = tokens.shape[1:]
    s, width = start[0, 0, 0], length[0, 0, 0].clamp(min=channels / 4)
    a, k = math.floor(s.item()), math.floor(width.item())

    def interpolated(first: int) -> Tensor:
        """Eqs. (3) and (4): k channels from ``first``, and the next one weighted by l_dec."""
        window = tokens[..., [(first + i) % channels for i in range(k + 1)]]
        return torch.cat([window[..., :-1], window[..., -1:] * (width - k)], dim=-1)

    d = s - a
    selected = (1 - d) * interpolated(a) + d * interpolated(a + 1)  # (B, N, k + 1)
    return (selected @ selected.mT / positions) @ tokens  # (B, N, N) @ (B, N, C)


def gather(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Eqs. (2)-(5) for one image and one window per position."""
    x, s, width = tokens[0], start[0], length[0]  # (N, C), (N, 1)
    positions, channels = x.shape
    a, d = s.floor(), s - s.floor()
    k = torch.arange(math.ceil(width.max().item()))  # (K,)
    index = a.long() + k  # (N, K)
    padded = F.pad(x, (0, len(k) + 2))
    columns = torch.arange(positions).unsqueeze(-1)  # (N, 1)
    lower, higher = (padded[columns, (index + i).unsqueeze(1)] for i in (0, 1))  # (N, N, K)
    selected = (width - k).clamp(0, 1).unsqueeze(1) * (
        (1 - d).unsqueeze(1) * lower + d.unsqueeze(1) * higher
    )  # (N, N, K): x_j read through the window of i
    query = selected.diagonal().mT.unsqueeze(1)  # (N, 1, K): x_i read through the window of i
    affinity = (query * selected).sum(-1)  # (N, N)
    return (affinity @ x / positions).unsqueeze(0)


def windowed(mode: str) -> Attend:
    """The attention of reid_dcs."""

    def attend(tokens: Tensor, start: Tensor, length: Tensor) -> Tensor:
        reading = {"softness": tokens.shape[-1] / 16} if mode == "soft" else {"mode": mode}
        return channel_attention(windowed_query(tokens, start, length, **reading), tokens, tokens)

    return attend


def inputs(stage: tuple[int, ...], windows: int, layout: torch.memory_format) -> list[Tensor]:
    """Feature map (B, C, H, W), and starts and lengths (B, M, H, W) in the given memory layout."""
    channels, height, width = stage
    x = torch.randn(BATCH, *stage)
    u, v = torch.rand(2, BATCH, windows, height, width)
    length = 1 + (channels - 1) * u
    start = (channels - length) * v
    return [t.contiguous(memory_format=layout).requires_grad_() for t in (x, start, length)]


def forward_backward(attend: Attend, leaves: list[Tensor]) -> Callable[[], None]:
    """Function that computes the attention and the gradients of the map, starts and lengths."""

    def run() -> None:
        tokens, start, length = (t.flatten(2).mT for t in leaves)  # (B, N, C or M)
        output = attend(tokens, start, length)
        torch.autograd.grad(output, leaves, torch.ones_like(output), allow_unused=True)

    return run


def compare(run: Callable[[], None], base: Callable[[], None]) -> tuple[float, float]:
    """Median milliseconds of ``run``, and the ratio to the median of ``base``, alternating."""
    rounds = [(seconds(run, CPU), seconds(base, CPU)) for _ in range(WARMUP + ROUNDS)]
    run_time, base_time = (median(times) for times in zip(*rounds[WARMUP:], strict=True))
    return 1000 * run_time, run_time / base_time


def gather_fits(stage: tuple[int, ...]) -> bool:
    channels, height, width = stage
    return 6 * 4 * (height * width) ** 2 * channels < GATHER_LIMIT


def measure(stage: tuple[int, ...], layout: torch.memory_format) -> None:
    """Print the rows of one stage."""
    rows = {"plain": (plain, 1), "release": (release, 1)}
    rows |= {f"{mode}, M = {windows}": (windowed(mode), windows) for mode, windows in MODES}
    leaves = {windows: inputs(stage, windows, layout) for windows in (1, 2, 4)}
    base = forward_backward(plain, leaves[1])
    base_mib = peak_mib(base)
    title = f"{stage[0]}@{stage[1]}x{stage[2]}"
    for name, (attend, windows) in rows.items():
        run = forward_backward(attend, leaves[windows])
        ms, ratio = compare(run, base)
        mib = peak_mib(run)
        cells = f"{ms:.1f} | {ratio:.2f} | {mib:.1f} | {mib / base_mib:.2f}"
        print(f"| {title} | {name} | {cells} |", flush=True)
    if gather_fits(stage):
        run = forward_backward(gather, [t.detach()[:1].requires_grad_() for t in leaves[1]])
        ms, mib = 1000 * BATCH * seconds(run, CPU), BATCH * peak_mib(run)
        base_ms, _ = compare(base, base)
        cells = f"{ms:.0f} | {ms / base_ms:.0f} | {mib:.0f} | {mib / base_mib:.0f}"
        print(f"| {title} | gather | {cells} |")


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
        f"{machine()} {torch.get_num_threads()} threads, {options.layout}, batch {BATCH}.\n\n"
        "| stage | | ms | relative to plain | MiB | relative to plain |\n|---|---|---|---|---|---|"
    )
    for stage in STAGES:
        measure(stage, layout)


if __name__ == "__main__":
    main()
