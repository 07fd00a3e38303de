"""Parameters and FLOPs of Table 1: the paper's figures and ours, with and without DCS.

    python benchmarks/studies/table1.py > benchmarks/studies/results/table1.md

One window per position, as in the paper's counts (the default here is two). The rows of DCS-DNAS
belong to searched networks and are not included.
"""

from collections.abc import Iterator
from typing import NamedTuple

from reid_dcs import build_model
from reid_dcs.models.complexity import Complexity, complexity


class Row(NamedTuple):
    """A row of Table 1, with its figures as printed."""

    method: str
    backbone: str
    height: int
    params: str  # M
    flops: str  # G

    def __str__(self) -> str:
        return f"{self.method}, {self.backbone}, {self.height}x128"


TABLE_1 = (
    Row("Baseline", "mobilenetv2", 256, "2.22", "0.380"),
    Row("DCS-FB", "mobilenetv2", 256, "2.23", "0.382"),
    Row("DCS-FB", "mobilenetv2_200", 256, "5.09", "0.884"),
    Row("DCS-FB", "osnet_x1_0", 256, "2.2", "0.98"),
    Row("DCS-FB", "mobilenetv2", 384, "2.23", "0.571"),
    Row("DCS-FB", "mobilenetv2_200", 384, "5.09", "1.32"),
    Row("DCS-FB", "resnet50", 384, "23.5", "6.55"),
)

HEADER = """
| | paper: params, M | FLOPs, G | counted: params, M | conv_macs, G | total_macs, G \
| paper_flops, G |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The result page in Markdown."""
    lines, misses = [], []
    for row in TABLE_1:
        without, counted = _count(row, "base"), _count(row, "dcs", windows=1)
        if row.method == "Baseline":
            counted = without
        lines.append(_line(row, counted))
        misses += _misses(row, counted, without)
    table = HEADER + "".join(lines)
    title = "Figures of the paper that its text does not explain:"
    return f"# {__doc__}{table}\n{title}\n\n{''.join(misses)}"


def _count(row: Row, kind: str, **options) -> Complexity:
    model = build_model(f"{row.backbone}_{kind}", num_classes=1, **options)
    return complexity(model, (3, row.height, 128))


def _line(row: Row, counted: Complexity) -> str:
    macs = " | ".join(f"{count / 1e9:.4f}" for count in counted[1:])
    return f"| {row} | {row.params} | {row.flops} | {counted.params / 1e6:.4f} | {macs} |\n"


def _misses(row: Row, counted: Complexity, without: Complexity) -> Iterator[str]:
    """One line for each figure of the paper that no count of the network rounds to."""
    for printed, unit, figures in (
        (row.params, "M", lambda c: [c.params / 1e6]),
        (row.flops, "G", lambda c: [c.paper_flops / 1e9, c.conv_macs / 1e9]),
    ):
        if not _rounds(figures(counted), printed):
            if _rounds(figures(without), printed):
                finding = "is the figure of the network without DCS"
            else:
                finding = "matches no count, with or without DCS"
            yield f"- {row}: {printed} {unit} {finding}.\n"


def _rounds(figures: list[float], printed: str) -> bool:
    """True if any of the figures rounds to the printed one."""
    digits = len(printed.partition(".")[2])
    return any(f"{figure:.{digits}f}" == printed for figure in figures)


if __name__ == "__main__":
    print(page(), end="")
