"""Table 1's parameters and FLOPs beside what is counted here, with and without DCS.

    python benchmarks/table1.py > benchmarks/results/table1.md

One window a position, as the paper's counts have it (the default here is two). The last two
columns name what rounds to the paper's figure; FLOPs that nothing rounds to cannot be produced
from the paper's text. The rows of DCS-DNAS are of searched networks and are not here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from reid_dcs import build_model
from reid_dcs.models.complexity import Complexity, complexity


class Line(NamedTuple):
    """A line of Table 1: digits as printed."""

    row: str
    backbone: str
    height: int
    params: str  # millions
    flops: str  # G


TABLE_1 = (
    Line("Baseline", "mobilenetv2", 256, "2.22", "0.380"),
    Line("DCS-FB", "mobilenetv2", 256, "2.23", "0.382"),
    Line("DCS-FB", "mobilenetv2_200", 256, "5.09", "0.884"),
    Line("DCS-FB", "osnet_x1_0", 256, "2.2", "0.98"),
    Line("DCS-FB", "mobilenetv2", 384, "2.23", "0.571"),
    Line("DCS-FB", "mobilenetv2_200", 384, "5.09", "1.32"),
    Line("DCS-FB", "resnet50", 384, "23.5", "6.55"),
)

HEADER = (
    "| row | backbone | input | the paper: M | G | without: M | G | convolutions G "
    "| with DCS: M | G | convolutions G | + affinity G | its M is | its G is |"
)


def page() -> str:
    """The whole of it, in Markdown."""
    rule = "|" + "---|" * (HEADER.count("|") - 1)
    return "\n".join([f"# {__doc__}", HEADER, rule, *map(_row, TABLE_1)])


def _row(line: Line) -> str:
    size = (3, line.height, 128)
    without = complexity(build_model(f"{line.backbone}_base", 1), size)
    with_dcs = complexity(build_model(f"{line.backbone}_dcs", 1, windows=1), size)
    cells = [
        line.row,
        line.backbone,
        f"{line.height}x128",
        line.params,
        line.flops,
        *_figures(without)[:3],
        *_figures(with_dcs),
        _named(line.params, {"with": with_dcs.params / 1e6, "without": without.params / 1e6}),
        _named(line.flops, dict(_counts(without, with_dcs))),
    ]
    return f"| {' | '.join(cells)} |"


def _figures(counted: Complexity) -> list[str]:
    gigas = counted.paper_flops, counted.conv_macs, counted.total_macs
    return [f"{counted.params / 1e6:.4f}", *(f"{g / 1e9:.4f}" for g in gigas)]


def _counts(without: Complexity, with_dcs: Complexity) -> Iterator[tuple[str, float]]:
    yield "with", with_dcs.paper_flops / 1e9
    yield "without", without.paper_flops / 1e9
    yield "with, convolutions", with_dcs.conv_macs / 1e9
    yield "without, convolutions", without.conv_macs / 1e9


def _named(printed: str, figures: dict[str, float]) -> str:
    """What rounds, to the digits printed, to the paper's figure."""
    digits = len(printed.partition(".")[2])
    names = [name for name, figure in figures.items() if f"{figure:.{digits}f}" == printed]
    return "; ".join(names) or "not reproduced"


if __name__ == "__main__":
    print(page())
