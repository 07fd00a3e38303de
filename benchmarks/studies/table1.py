"""Table 1's parameters and FLOPs beside what is counted here, with and without DCS.

    python benchmarks/studies/table1.py > benchmarks/studies/results/table1.md

One window a position, as the paper's counts have it (the default here is two). The rows of
DCS-DNAS are of searched networks and are not here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from reid_dcs import build_model
from reid_dcs.models.complexity import Complexity, complexity


class Row(NamedTuple):
    """A row of Table 1, with the digits that are printed there."""

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
| | the paper: params, M | FLOPs, G | counted: params, M | conv_macs, G | total_macs, G \
| paper_flops, G |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole of it, in Markdown."""
    lines, misses = [], []
    for row in TABLE_1:
        without, counted = _count(row, "base"), _count(row, "dcs", windows=1)
        if row.method == "Baseline":
            counted = without
        lines.append(_line(row, counted))
        misses += _misses(row, counted, without)
    table = HEADER + "".join(lines)
    return f"# {__doc__}{table}\nWhat the paper's text does not give:\n\n{''.join(misses)}"


def _count(row: Row, kind: str, **options) -> Complexity:
    model = build_model(f"{row.backbone}_{kind}", num_classes=1, **options)
    return complexity(model, (3, row.height, 128))


def _line(row: Row, counted: Complexity) -> str:
    macs = " | ".join(f"{count / 1e9:.4f}" for count in counted[1:])
    return f"| {row} | {row.params} | {row.flops} | {counted.params / 1e6:.4f} | {macs} |\n"


def _misses(row: Row, counted: Complexity, without: Complexity) -> Iterator[str]:
    """A sentence for each of the paper's figures that no count rounds to."""
    for printed, unit, figures in (
        (row.params, "M", lambda c: [c.params / 1e6]),
        (row.flops, "G", lambda c: [c.paper_flops / 1e9, c.conv_macs / 1e9]),
    ):
        if not _rounds(figures(counted), printed):
            found = _rounds(figures(without), printed)
            whose = "the network's without DCS" if found else "of no count, with or without DCS"
            yield f"- {row}: {printed} {unit} is {whose}.\n"


def _rounds(figures: list[float], printed: str) -> bool:
    digits = len(printed.partition(".")[2])
    return any(f"{figure:.{digits}f}" == printed for figure in figures)


if __name__ == "__main__":
    print(page(), end="")
