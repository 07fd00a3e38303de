"""The kinds of attention, with every way of reading what they select."""

import pytest

from reid_dcs.attention import ATTENTIONS, WindowedAttention
from reid_dcs.attention.masked import NORMALIZATIONS
from reid_dcs.attention.query import MODES

WINDOWED = [kind for kind in ATTENTIONS if issubclass(ATTENTIONS[kind], WindowedAttention)]
READINGS = [
    *((kind, {"mode": mode}) for kind in WINDOWED for mode in MODES),
    *(("dcs_mask", {"normalization": normalization}) for normalization in NORMALIZATIONS),
]


def reading_id(value) -> str:
    return value if isinstance(value, str) else "-".join(value.values())


every_reading = pytest.mark.parametrize(("kind", "options"), READINGS, ids=reading_id)
"""Of each kind with windows in every mode, and of masks with each normalization."""
