"""Differentiable channel selection, the paper's contribution. Imports torch alone."""

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.blocks import ATTENTIONS, DCS, WindowedAttention, Windows, build_attention
from reid_dcs.attention.windows import squash_window, windowed_query

__all__ = [
    "ATTENTIONS",
    "DCS",
    "WindowedAttention",
    "Windows",
    "build_attention",
    "channel_attention",
    "squash_window",
    "windowed_query",
]
