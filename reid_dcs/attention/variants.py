"""Variants of the attention block, by how they compute their windows.

| kind | windows |
|---|---|
| ``sa`` | the first r C channels, everywhere (Eqs. 1 and 2) |
| ``dcs`` | M windows of each position, start and length from a 1x1 convolution |
| ``dcs_sw`` | one learned window of the layer ("single-window DCS", Figure 3) |
| ``dcs_pos`` | as dcs, learning only the start (Table 7, "position") |
| ``dcs_dim`` | as dcs, learning only the length (Table 7, "key dimension") |
| ``gsa`` | one of 15 windows by Gumbel softmax (Appendix A.2) |
| ``dcs_mask`` | none: a binary mask of each position (the published version of the paper) |
"""

from reid_dcs.attention.block import AttentionBlock
from reid_dcs.attention.fixed import GSA, SA
from reid_dcs.attention.learned import DCS, DCSSW, DCSDim, DCSPos
from reid_dcs.attention.masked import DCSMask

ATTENTIONS: dict[str, type[AttentionBlock]] = {
    "sa": SA,
    "dcs": DCS,
    "dcs_sw": DCSSW,
    "dcs_pos": DCSPos,
    "dcs_dim": DCSDim,
    "gsa": GSA,
    "dcs_mask": DCSMask,
}


def build_attention(kind: str, channels: int, **options) -> AttentionBlock:
    """Build an attention block.

    Args:
        kind: one of ``ATTENTIONS``.
        channels: C of the feature map.
        options: keyword arguments of the kind's class.

    Returns:
        A module from (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: unknown kind, or an option out of range.
        TypeError: unknown option.
    """
    if kind not in ATTENTIONS:
        raise ValueError(f"unknown attention {kind!r}; known: {', '.join(ATTENTIONS)}")
    return ATTENTIONS[kind](channels, **options)
