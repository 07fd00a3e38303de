"""Slow and obvious: channels gathered one position and one channel at a time, from Eqs. (2)-(5)."""

import math

import torch
from torch import Tensor


def random_windows(shape: tuple[int, ...], channels: int, place: str = "inside", seed: int = 0):
    """Fractional windows inside ``[0, channels]``, some of them shorter than one channel."""
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.rand(2, *shape, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    length = channels * u
    start = (channels - length) * v
    if place == "from_first":
        start = torch.zeros_like(start)
    if place == "to_last":
        length = channels - start
    if place == "all":
        start, length = torch.zeros_like(start), torch.full_like(length, channels)
    return start, length


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def channel_slice(x: Tensor, first: int, count: int, size: int) -> Tensor:
    """x[first], ..., x[first + count - 1], then zeros up to ``size``; 0 past the last channel."""
    values = []
    for k in range(size):
        inside = k < count and first + k < len(x)
        values.append(x[first + k] if inside else x.new_zeros(()))
    return torch.stack(values)


def selected(x: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """x(s, l) by Eqs. (3)-(5), for the feature x (C,) of one position."""
    s_int, l_int = math.floor(start.item()), math.floor(length.item())
    s_dec, l_dec = start - s_int, length - l_int
    size = l_int + 1
    lower = (1 - l_dec) * channel_slice(x, s_int, l_int, size)  # Eq. (3)
    lower = lower + l_dec * channel_slice(x, s_int, l_int + 1, size)
    upper = (1 - l_dec) * channel_slice(x, s_int + 1, l_int, size)  # Eq. (4)
    upper = upper + l_dec * channel_slice(x, s_int + 1, l_int + 1, size)
    return (1 - s_dec) * lower + s_dec * upper  # Eq. (5)


def gathered_affinity(x: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """R of Eq. (2), r_ij = <x_i(s_i, l_i), x_j(s_i, l_i)>: x (B, N, C), windows (B, N, 1)."""
    batches = []
    for b in range(len(x)):
        rows = []
        for i in range(x.shape[1]):
            window = start[b, i, 0], length[b, i, 0]
            own = selected(x[b, i], *window)
            rows.append(torch.stack([own @ selected(x_j, *window) for x_j in x[b]]))
        batches.append(torch.stack(rows))
    return torch.stack(batches)


def masked_query(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """x_p times the union of clamp(min(s + l, p + 1) - max(s, p), 0, 1), in loops."""
    batch, positions, channels = x.shape
    start = start.expand(batch, positions, -1)
    length = length.expand(batch, positions, -1)
    values = []
    for b in range(batch):
        for i in range(positions):
            for p in range(channels):
                weights = []
                for s, width in zip(start[b, i], length[b, i], strict=True):
                    overlap = torch.as_tensor(min(p + 1, s + width) - max(s, p), dtype=x.dtype)
                    weights.append(overlap.clamp(0, 1))
                weight = max(weights) if union == "max" else sum(weights)
                values.append(x[b, i, p] * weight)
    return torch.stack(values).view_as(x)


def blended_query(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """x_p times Eqs. (3)-(5) of "p lies in the whole window", for four whole windows, in loops."""
    batch, positions, channels = x.shape
    start = start.expand(batch, positions, -1)
    length = length.expand(batch, positions, -1)
    values = []
    for b in range(batch):
        for i in range(positions):
            for p in range(channels):
                weights = []
                for s, width in zip(start[b, i], length[b, i], strict=True):
                    a, k = math.floor(s.item()), math.floor(width.item())
                    d, e = s - a, width - k
                    lower = (1 - e) * (a <= p < a + k) + e * (a <= p < a + k + 1)
                    upper = (1 - e) * (a + 1 <= p < a + 1 + k) + e * (a + 1 <= p < a + k + 2)
                    weights.append((1 - d) * lower + d * upper)
                weight = max(weights) if union == "max" else sum(weights)
                values.append(x[b, i, p] * weight)
    return torch.stack(values).view_as(x)


def selection_matrix(start: Tensor, length: Tensor, channels: int) -> Tensor:
    """A of one window, (C, C): the inner products of what the unit features select."""
    units = torch.eye(channels, dtype=start.dtype)
    chosen = torch.stack([selected(unit, start, length) for unit in units])
    return chosen @ chosen.mT


def union_affinity(x: Tensor, start: Tensor, length: Tensor, union: str) -> Tensor:
    """r_ij = x_i^T A_i x_j, A_i the largest entries (or the sum) of the A of i's M windows."""
    batches = []
    for b in range(len(x)):
        rows = []
        for i in range(x.shape[1]):
            windows = zip(start[b, i], length[b, i], strict=True)
            each = torch.stack([selection_matrix(*window, x.shape[-1]) for window in windows])
            joined = each.amax(0) if union == "max" else each.sum(0)
            rows.append(x[b, i] @ joined @ x[b].mT)
        batches.append(torch.stack(rows))
    return torch.stack(batches)
