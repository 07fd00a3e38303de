"""Apply an augmentation on a CPU, which is fast when it stays in the cache.

A crop copies its rows from the store as bytes, and colors are mapped a few images at a time.
"""

import torch
from torch import Tensor

from reid_dcs.data.colors import Colors
from reid_dcs.data.draws import Draws

_IN_CACHE = 2  # images per core that are normalized at once


def crop_on_cpu(store: Tensor, index: Tensor, draws: Draws) -> Tensor:
    """Crop and flip images of a store (N, H, W, 3) uint8, by ``index`` (B,) -> (B, H, W, 3)."""
    batch, (_, height, width, _) = len(index), store.shape
    flip, dy, dx = (v[:, None] for v in (draws.flip, draws.dy, draws.dx))  # (B, 1) each
    dx = torch.where(flip, -dx, dx)  # the crop is flipped afterwards
    rows, columns = torch.arange(height) + dy, torch.arange(width) + dx  # (B, H), (B, W)
    first = (index[:, None] * height + rows.clamp(0, height - 1)) * width + dx
    images = _read_rows(store, first.flatten()).view(batch, height, width * 3)
    images *= _inside(rows, height)[:, :, None]
    images *= _inside(columns, width).repeat_interleave(3, 1)[:, None]
    images = images.view(batch, height, width, 3)
    for i in draws.flip.nonzero().flatten().tolist():
        images[i] = images[i].flip(1)
    return images


def to_floats_on_cpu(images: Tensor, colors: Colors, boxes: Tensor | None = None) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, H, W, 3) float32, with ``boxes`` (B, 4) erased."""
    batch, height, width, _ = images.shape
    result = torch.empty(batch, height, width, 3)
    colors = colors.rows(width)
    listed = [] if boxes is None else boxes.tolist()
    step = _IN_CACHE * torch.get_num_threads()
    for first in range(0, batch, step):
        part = slice(first, first + step)
        floats = result[part].flatten(2)  # (b, H, W * 3)
        floats.copy_(images[part].flatten(2))
        colors.part(part).apply_(floats)
        for image, (top, left, h, w) in zip(floats, listed[part], strict=False):
            if h:
                image[top : top + h, 3 * left : 3 * (left + w)] = 0  # the mean color
    return result


def _read_rows(store: Tensor, first: Tensor) -> Tensor:
    """Read W pixels from each start: (R,) pixel indices into the store -> (R, W * 3) uint8.

    Pixels before the beginning or after the end of the store are arbitrary.
    """
    width, row = store.shape[2], store.shape[2] * 3
    last = store.numel() // 3 - width
    rows = store.view(-1).as_strided((last + 1, row), (3, 1))
    start = first.clamp(0, last)
    found = rows.index_select(0, start)
    for i in (first - start).nonzero().flatten().tolist():  # the store's first or last row
        found[i] = found[i].roll(3 * int(start[i] - first[i]))
    return found


def _inside(index: Tensor, size: int) -> Tensor:
    return ((index >= 0) & (index < size)).to(torch.uint8)
