"""Mixed precision where the hardware supports it."""

import contextlib
from collections.abc import Iterator

import torch
from torch.amp import GradScaler

from reid_dcs.errors import InputError
from reid_dcs.runtime.depthwise import DepthwiseInFloat32


class Precision:
    """Compute dtype of the network; its weights and the losses stay in float32.

    Args:
        name: ``float32``, ``bfloat16``, ``float16`` or ``auto``: bfloat16 where the device has
            native support, otherwise float16 on CUDA and float32 on a CPU.
        device: device that runs the network.

    Attributes:
        name: name of the dtype, with ``auto`` resolved.
        dtype: the dtype.
        scaler: gradient scaler, enabled for float16 only, where small gradients would vanish.

    Raises:
        InputError: a reduced precision without native support on the CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        best = _best(device)
        if name == "auto":
            name = best
        if device.type == "cpu" and name not in ("float32", best):
            raise InputError(
                f"precision={name}: this CPU has no native {name} arithmetic and would emulate "
                "it; use precision=auto"
            )
        self.name, self.dtype, self.device = name, getattr(torch, name), device
        self.scaler = GradScaler(device.type, enabled=name == "float16")

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Autocast context for the forward pass; nothing for float32.

        On a CPU it leaves some depthwise convolutions in float32, which is faster; see
        :class:`~reid_dcs.runtime.depthwise.DepthwiseInFloat32`.
        """
        with contextlib.ExitStack() as contexts:
            if self.dtype != torch.float32:
                contexts.enter_context(torch.autocast(self.device.type, self.dtype))
                if self.device.type == "cpu":
                    contexts.enter_context(DepthwiseInFloat32())
            yield


def _best(device: torch.device) -> str:
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
