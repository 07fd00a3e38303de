"""The spaces that DCS-DNAS searches (Tables 5 and 6): what each bottleneck may be."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

Range = tuple[float, float, float]
"""The lowest and the highest option, and the step between options."""


class Row(NamedTuple):
    """Bottlenecks of a table's row. Each of them chooses for itself."""

    e: Range | float
    """Expansion rates."""
    f: Range
    """Numbers of filters."""
    n: int
    """Blocks."""
    s: int
    """Stride of the first of them; the others have 1."""
    dcs: bool = False
    """Whether a DCS module is inserted after it."""


class Options(NamedTuple):
    """What one bottleneck may be."""

    expansions: tuple[float, ...]
    """Hidden channels as multiples of the block's own input, whatever width that has."""
    widths: tuple[int, ...]
    """Numbers of filters of its output."""
    stride: int


@dataclass(frozen=True)
class Space:
    """All networks that a table allows."""

    name: str
    rows: tuple[Row, ...]
    stem: int = 16
    """Filters of the first convolution, of stride 2."""
    last: int = 1984
    """Filters of the last convolution."""

    @cached_property
    def stages(self) -> tuple[tuple[Options, ...], ...]:
        """Blocks between one DCS module and the next, block by block."""
        stages, stage = [], []
        for row in self.rows:
            strides = [row.s] + [1] * (row.n - 1)
            stage += [Options(options(row.e), options(row.f), stride) for stride in strides]
            if row.dcs:
                stages.append(tuple(stage))
                stage = []
        return tuple(stages)

    @property
    def blocks(self) -> tuple[Options, ...]:
        """Every bottleneck, from the first to the last."""
        return sum(self.stages, ())

    @property
    def subgraphs(self) -> int:
        """How many networks it has."""
        return math.prod(len(block.expansions) * len(block.widths) for block in self.blocks)


def options(given: Range | float) -> tuple[float, ...]:
    """``(0.75, 3.25, 0.5)`` is 0.75, 1.25, ... 3.25; a number is the one option."""
    if not isinstance(given, tuple):
        return (given,)
    low, high, step = given
    return tuple(low + step * i for i in range(round((high - low) / step) + 1))


def _table_5(column: int) -> tuple[Row, ...]:
    """The column of n for FBNetV2, 0, or FBNetV2-Large, 1."""
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
    return tuple(Row(e, f, n[column], *rest) for e, f, n, *rest in table)


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
