"""Mixed precision where the hardware has it."""

import contextlib

import torch
from torch.amp import GradScaler

from reid_dcs.errors import InputError


class Precision:
    """In what type the network computes; its weights and the losses stay float32.

    Args:
        name: ``auto`` is bfloat16 where the device has units for it, else float16 on CUDA (with
            scaled gradients, which would vanish in it), else float32.
        device: that trains.

    Raises:
        InputError: a CPU without such units asked for less than float32.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        best = _best(device)
        if name == "auto":
            name = best
        if device.type == "cpu" and name not in ("float32", best):
            raise InputError(
                f"precision={name}: this CPU has no units for it and would emulate them; "
                "use precision=auto"
            )
        self.name, self.dtype, self.device = name, getattr(torch, name), device
        self.scaler = GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> contextlib.AbstractContextManager:
        """What the forward pass runs in."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _best(device: torch.device) -> str:
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
