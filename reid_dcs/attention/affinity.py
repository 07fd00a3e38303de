"""The attention product ``(1/N) (Q K^T) V`` in its cheaper order (Eq. 1 with C(X) = N)."""

from torch import Tensor
from torch.autograd import Function


def channel_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention whose affinities are normalized by the number of keys instead of a softmax.

    Without a softmax the product is associative: ``(Q K^T) V`` costs N^2 (D + C) multiply-adds,
    ``Q (K^T V)`` costs 2 N D C. The cheaper one runs, and no N x N tensor exists when D = C < N.
    The factor 1/N is applied to the keys first, so that half precision does not overflow in the
    sum over positions.

    Args:
        query, key: (B, N, D) each, the D channels that affinities read.
        value: (B, N, C).

    Returns:
        (B, N, C).
    """
    positions, width = key.shape[-2:]
    channels = value.shape[-1]
    with_affinities, without = product_macs(positions, width, channels)
    if with_affinities <= without:
        return (query @ (key / positions).mT) @ value  # (B, N, N) @ (B, N, C)
    if key is value:
        return query @ _Gram.apply(value)  # (B, N, C) @ (B, C, C)
    return query @ ((key / positions).mT @ value)  # (B, N, D) @ (B, D, C)


def product_macs(positions: int, width: int, channels: int) -> tuple[int, int]:
    """Multiply-adds of ``(Q K^T) V`` and of ``Q (K^T V)``, for N positions, D and C channels."""
    return positions * positions * (width + channels), 2 * positions * width * channels


class _Gram(Function):
    """``(1/N) X^T X``, (B, N, C) -> (B, C, C); one product backward, where autograd needs two."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return (x / x.shape[-2]).mT @ x

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        symmetric = (grad + grad.mT) / x.shape[-2]
        return (x.to(grad.dtype) @ symmetric).to(x.dtype)
