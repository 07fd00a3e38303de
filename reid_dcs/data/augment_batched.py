"""Apply an augmentation on an accelerator: the whole batch in a fixed number of operations.

Launching an operation costs an accelerator more than running it on one image, and reading a value
back makes the CPU wait. So nothing here loops over images or reads from the device; indices and
random numbers are sent asynchronously. The pixels equal those of ``augment_cpu.py``.
"""

import torch
from torch import Tensor

from reid_dcs.data.colors import Colors
from reid_dcs.data.draws import Draws
from reid_dcs.runtime.device import send


def crop_batched(store: Tensor, index: Tensor, draws: Draws, device: torch.device) -> Tensor:
    """Crop and flip images of a store (N, H, W, 3) uint8, by ``index`` (B,) -> (B, H, W, 3).

    The store is on the device; or in memory, if it does not fit there: then the batch is sent.
    """
    _, height, width, _ = store.shape
    if store.device.type != device.type:
        store, index = send(store[index], device), torch.arange(len(index))
    numbers = torch.stack([index, draws.flip, draws.dy, draws.dx], 1)
    index, flip, dy, dx = send(numbers, device).split(1, 1)  # (B, 1) each
    y, x = (torch.arange(size, device=device) for size in (height, width))
    rows = y + dy  # (B, H)
    columns = torch.where(flip.bool(), width - 1 - x, x) + torch.where(flip.bool(), -dx, dx)
    pixels = (index * height + rows.clamp(0, height - 1))[:, :, None] * width
    pixels = pixels + columns.clamp(0, width - 1)[:, None]  # (B, H, W)
    images = store.view(-1, 3).index_select(0, pixels.flatten()).view(*pixels.shape, 3)
    inside = _between(rows, 0, height)[:, :, None] & _between(columns, 0, width)[:, None]
    return images * inside[..., None]


def to_floats_batched(images: Tensor, colors: Colors, boxes: Tensor | None = None) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, H, W, 3) float32, with ``boxes`` (B, 4), on the CPU, erased."""
    _, height, width, _ = images.shape
    floats = colors.rows(width).apply_(images.flatten(2).float()).view(images.shape)
    if boxes is None:
        return floats
    y, x = (torch.arange(size, device=images.device) for size in (height, width))
    top, left, h, w = send(boxes, images.device).split(1, 1)  # (B, 1) each
    erased = _between(y, top, top + h)[:, :, None] & _between(x, left, left + w)[:, None]
    return floats.masked_fill_(erased[..., None], 0)  # the mean color


def _between(values: Tensor, first: Tensor | int, end: Tensor | int) -> Tensor:
    return (values >= first) & (values < end)
