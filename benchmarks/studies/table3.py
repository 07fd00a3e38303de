"""Parameters and FLOPs of Table 3: the paper's figures and ours, and which rows cannot be had.

    python benchmarks/studies/table3.py > benchmarks/studies/results/table3.md

Networks of `build_classifier` with 1000 classes at 224x224, with their classifier, the stride of 2
that Table 4 prints for the 160-channel stage, and one window per position as in the paper's counts.
The FLOPs of Table 3 are the multiply-adds of convolutions and of the classifier plus 2 operations
for each element of a batch norm; total_macs counts affinity products instead of these.

The rows of FBNetV2 are searched networks, whose architectures are not published. Their counts are
of the largest network of Table 5 (FBNetV2) and of Table 6 (FBNetV2-L, which has more parameters
than any network of Table 5). EXAMPLE is a network of Table 6 that we chose by its counts.
"""

from typing import NamedTuple

from torch.nn.modules.batchnorm import _BatchNorm

from reid_dcs.models.architecture import Architecture
from reid_dcs.models.complexity import complexity
from reid_dcs.models.space import SPACES
from reid_dcs.runtime.hooks import probe
from reid_dcs.tasks.classification import build_classifier

INPUT, CLASSES = (3, 224, 224), 1000


class Row(NamedTuple):
    """A row of Table 3, with its figures as printed, and the network that it names.

    A searched network is replaced by the largest of its space.
    """

    method: str
    flops: str  # M
    params: str  # M
    model: str
    options: dict
    searched: bool = False


TABLE_3 = (
    Row("MobileNetV2", "327.7", "3.51", "mobilenetv2_base", {}),
    Row("MobileNetV2+SA", "330.2", "3.51", "mobilenetv2_sa", {}),
    Row("MobileNetV2+DCS", "329.6", "3.51", "mobilenetv2_dcs", {"windows": 1}),
    Row("FBNetV2", "330.3", "7.50", "fbnetv2_base", {}, searched=True),
    Row("FBNetV2+SA", "333.2", "7.50", "fbnetv2_sa", {}, searched=True),
    Row("FBNetV2+DCS", "331.7", "7.50", "fbnetv2_dcs", {"windows": 1}, searched=True),
    Row("FBNetV2-L+DCS", "626", "9.99", "fbnetv2_xlarge_dcs", {"windows": 1}, searched=True),
)

BLOCKS = (
    (12, 1),
    (16, 1.75),
    (16, 1.75),
    (24, 0.75),
    (24, 0.75),
    (48, 0.75),
    (48, 0.75),
    (88, 2.25),
    (216, 6.75),
    (192, 6.75),
)
"""Width and expansion rate of EXAMPLE in each row of Table 6."""

HEADER = """
| | paper: FLOPs, M | params, M | counted: FLOPs, M | params, M | total_macs, M | |
|---|---|---|---|---|---|---|
"""


class Cost(NamedTuple):
    """Cost of a classification network."""

    flops: int  # as Table 3 counts them
    params: int
    total_macs: int  # convolutions, classifier and affinity products


def count(row: Row) -> Cost:
    """Count the network of a row."""
    network = build_classifier(row.model, CLASSES, **row.options)
    elements = 0

    def count_norms(name: str, module: object, inputs: tuple, output: object) -> None:
        nonlocal elements
        if isinstance(module, _BatchNorm):
            elements += inputs[0].numel()

    probe(network, INPUT, count_norms)
    cost = complexity(network, INPUT)
    params = sum(parameter.numel() for parameter in network.parameters())
    classifier = network.classifier.weight.numel()
    return Cost(cost.conv_macs + classifier + 2 * elements, params, cost.total_macs + classifier)


def example() -> Row:
    """The row of FBNetV2-L, with EXAMPLE for its network."""
    space = SPACES["fbnetv2_xlarge"]
    blocks = [block for row, block in zip(space.rows, BLOCKS, strict=True) for _ in range(row.n)]
    widths, expansions = zip(*blocks, strict=True)
    row = TABLE_3[-1]
    options = row.options | {"architecture": Architecture(space.name, widths, expansions)}
    return row._replace(method="EXAMPLE", options=options)


def verdict(row: Row, cost: Cost) -> str:
    """What the count says of the row."""
    difference = cost.flops / 1e6 - float(row.flops)
    if row.searched:
        fewer = cost.params / 1e6 < float(row.params)
        if fewer:
            return "cannot be had: no network of its space has as many parameters"
        return "not excluded: EXAMPLE has both figures"
    return "reproduced" if abs(difference) < 0.1 else f"not reproduced: {difference:+.1f} M"


def page() -> str:
    """The result page in Markdown."""
    lines = []
    for row in (*TABLE_3, example()):
        cost = count(row)
        figures = f"{cost.flops / 1e6:.2f} | {cost.params / 1e6:.3f} | {cost.total_macs / 1e6:.2f}"
        said = verdict(row, cost) if row in TABLE_3 else "chosen to have the figures of FBNetV2-L"
        lines.append(f"| {row.method} | {row.flops} | {row.params} | {figures} | {said} |\n")
    blocks = ", ".join(f"{width} / {rate}" for width, rate in BLOCKS)
    note = f"EXAMPLE: filters / expansion rates in the rows of Table 6 are {blocks}.\n"
    return f"# {__doc__}{HEADER}{''.join(lines)}\n{note}"


if __name__ == "__main__":
    print(page(), end="")
