"""The attention product ``(1/N) (Q K^T) V`` in its cheaper order (Eq. 1 with C(X) = N)."""

from torch import Tensor


def channel_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention whose affinities are normalised by the number of keys instead of a softmax.

    Without a softmax the product is associative: ``(Q K^T) V`` costs N^2 C multiply-adds,
    ``Q (K^T V)`` costs N C^2. The cheaper one runs, and no N x N tensor exists when C < N. The
    factor 1/N is applied to the keys first, so that half precision does not overflow in the sum.

    Args:
        query, key, value: (B, N, C) each.

    Returns:
        (B, N, C).
    """
    positions, channels = key.shape[-2:]
    key = key / positions
    if positions <= channels:
        return (query @ key.mT) @ value  # (B, N, N) @ (B, N, C)
    return query @ (key.mT @ value)  # (B, N, C) @ (B, C, C)
