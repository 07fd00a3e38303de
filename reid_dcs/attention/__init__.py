"""Differentiable channel selection, the paper's contribution. Imports torch alone.

Read windows.py, query.py with its readings bilinear.py, mask.py and interp.py, affinity.py,
block.py, fixed.py, learned.py and masked.py, in this order.
"""

from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import AttentionBlock, WindowedAttention, WindowReport, Windows
from reid_dcs.attention.fixed import GSA, SA
from reid_dcs.attention.learned import DCS, DCSSW, DCSDim, DCSPos
from reid_dcs.attention.masked import DCSMask
from reid_dcs.attention.query import windowed_query
from reid_dcs.attention.report import attention_inputs, report_windows
from reid_dcs.attention.substitution import SUBSTITUTIONS, substitute, substitutions
from reid_dcs.attention.variants import ATTENTIONS, build_attention
from reid_dcs.attention.windows import squash_window

__all__ = [
    "ATTENTIONS",
    "DCS",
    "AttentionBlock",
    "DCSDim",
    "DCSMask",
    "DCSPos",
    "DCSSW",
    "GSA",
    "SA",
    "SUBSTITUTIONS",
    "WindowReport",
    "WindowedAttention",
    "Windows",
    "attention_inputs",
    "build_attention",
    "channel_attention",
    "report_windows",
    "squash_window",
    "substitute",
    "substitutions",
    "windowed_query",
]
