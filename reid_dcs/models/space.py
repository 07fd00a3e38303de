"""Search spaces of DCS-DNAS (Tables 5 and 6): the options of each bottleneck."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

Range = tuple[float, float, float]
"""Lowest option, highest option, step."""


class Row(NamedTuple):
    """One row of a table. Each of its bottlenecks is chosen separately."""

    e: Range | float
    """Expansion rates."""
    f: Range
    """Output channels."""
    n: int
    """Number of bottlenecks."""
    s: int
    """Stride of the first bottleneck; the others have 1."""
    dcs: bool = False
    """A DCS module follows."""


class Options(NamedTuple):
    """Options of one bottleneck."""

    expansions: tuple[float, ...]
    """Hidden channels as multiples of the input channels, whichever width was chosen for these."""
    widths: tuple[int, ...]
    """Output channels."""
    stride: int


@dataclass(frozen=True)
class Space:
    """All networks that a table describes."""

    name: str
    rows: tuple[Row, ...]
    stem: int = 16
    """Output channels of the first convolution, which has stride 2."""
    last: int = 1984
    """Output channels of the last convolution."""

    @cached_property
    def stages(self) -> tuple[tuple[Options, ...], ...]:
        """Options of the bottlenecks, grouped by the DCS module that follows them."""
        stages, stage = [], []
        for row in self.rows:
            strides = [row.s] + [1] * (row.n - 1)
            widths = tuple(map(int, options(row.f)))
            stage += [Options(options(row.e), widths, stride) for stride in strides]
            if row.dcs:
                stages.append(tuple(stage))
                stage = []
        return tuple(stages)

    @property
    def blocks(self) -> tuple[Options, ...]:
        """Options of all bottlenecks, in order."""
        return sum(self.stages, ())

    @property
    def subgraphs(self) -> int:
        """Number of networks in the space."""
        return math.prod(len(block.expansions) * len(block.widths) for block in self.blocks)


def options(given: Range | float) -> tuple[float, ...]:
    """Expand a range: ``(0.75, 3.25, 0.5)`` -> 0.75, 1.25, ... 3.25. A number is one option."""
    if not isinstance(given, tuple):
        return (given,)
    low, high, step = given
    return tuple(low + step * i for i in range(round((high - low) / step) + 1))


def _table_5(column: int) -> tuple[Row, ...]:
    """Rows of Table 5; its column of n for FBNetV2 (0) or FBNetV2-Large (1)."""
    table = (
        (1, (12, 16, 4), (1, 1), 1),
        ((0.75, 3.25, 0.5), (16, 28, 4), (1, 1), 2),
        ((0.75, 3.25, 0.5), (16, 28, 4), (2, 6), 1, True),
        ((0.75, 3.25, 0.5), (16, 40, 8), (1, 3), 2),
        ((0.75, 3.25, 0.5), (16, 40, 8), (2, 6), 1, True),
        ((0.75, 3.25, 0.5), (48, 96, 8), (1, 3), 2),
        ((0.75, 3.25, 0.5), (48, 96, 8), (2, 6), 1),
        ((0.75, 4.5, 0.75), (72, 128, 8), (4, 12), 1, True),
        ((0.75, 4.5, 0.75), (112, 216, 8), (1, 3), 2),
        ((0.75, 4.5, 0.75), (112, 216, 8), (3, 3), 1, True),
    )
    return tuple(Row(e, f, n[column], s, dcs=bool(dcs)) for e, f, n, s, *dcs in table)


TABLE_6 = (
    Row(1, (12, 16, 4), 1, 1),
    Row((0.75, 6.25, 0.5), (16, 28, 4), 1, 2),
    Row((0.75, 6.25, 0.5), (16, 28, 4), 12, 1, True),
    Row((0.75, 6.25, 0.5), (16, 40, 8), 6, 2),
    Row((0.75, 6.25, 0.5), (16, 40, 8), 12, 1, True),
    Row((0.75, 6.25, 0.5), (48, 96, 8), 6, 2),
    Row((0.75, 6.25, 0.5), (48, 96, 8), 12, 1),
    Row((0.75, 7.5, 0.75), (72, 128, 8), 24, 1, True),
    Row((0.75, 7.5, 0.75), (112, 216, 8), 6, 2),
    Row((0.75, 7.5, 0.75), (112, 216, 8), 6, 1, True),
)

SPACES = {
    space.name: space
    for space in (
        Space("fbnetv2", _table_5(0)),
        Space("fbnetv2_large", _table_5(1)),
        Space("fbnetv2_xlarge", TABLE_6),
    )
}
