"""Depthwise convolutions of a mixed-precision training on a CPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class DepthwiseInFloat32(TorchFunctionMode):
    """Context in which autocast leaves those depthwise convolutions in float32 that gain by it.

    oneDNN (in torch 2.14) has no fast gradient in bfloat16 for depthwise convolutions with a
    stride, with kernels above 3x3, or on maps lower than the kernel: theirs takes 1.4 to 130 times
    as long as in float32 on a processor with AVX512-BF16 (benchmarks/studies/depthwise.py). All
    other operations keep their precision, and so does everything without gradients.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, which is ``torch.conv2d`` for every ``nn.Conv2d``."""
        kwargs = kwargs or {}
        learns = function is torch.conv2d and args and torch.is_grad_enabled()
        if not (learns and _is_slow(*args, **kwargs)):
            return function(*args, **kwargs)
        images, *others = args
        with torch.autocast("cpu", enabled=False):
            return function(images.float(), *others, **kwargs)


def _is_slow(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether a convolution (arguments as of ``torch.conv2d``) is one of these."""
    if groups == 1 or groups != input.shape[1]:
        return False
    strides = (stride,) if isinstance(stride, int) else stride
    kernel = weight.shape[2]
    return max(strides) > 1 or kernel > 3 or input.shape[2] < kernel
