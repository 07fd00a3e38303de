"""Parameters and FLOPs of the search spaces of Tables 5 and 6, compared with DCS-DNAS in Table 1.

    python benchmarks/studies/spaces.py > benchmarks/studies/results/spaces.md

One window per position, images of 384x128; backbone and attention, without the classifier.
`reid_dcs/models/complexity.py` defines `conv_macs`, `total_macs` and `paper_flops`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from reid_dcs import build_model
from reid_dcs.attention import DCS
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.complexity import complexity
from reid_dcs.models.space import SPACES, Row, Space
from reid_dcs.search.cost import strided

SIZE = 3, 384, 128
IDENTITIES = 751  # training identities of Market-1501


class Searched(NamedTuple):
    """A searched network in Table 1."""

    method: str
    params: float  # M
    flops: float  # G


DCS_DNAS = (
    Searched("DCS-DNAS, the larger", 24.5, 1.809),
    Searched("DCS-DNAS, the smaller", 13.2, 1.239),
)

WIDTHS = 24, 32, 112, 216  # by stage, of the networks outside the spaces

COUNTS = """
| space | blocks | subgraphs | | params, M | conv_macs, G | total_macs, G | paper_flops, G |
|---|---|---|---|---|---|---|---|
"""

OUTSIDE = """
Outside the spaces, networks of FBNetV2-Large's rows with an expansion rate of 6 and 24, 32, 112 and
216 filters by stage have these counts, by the bottlenecks of the last row of Table 5:

| last row | params, M | conv_macs, G | paper_flops, G |
|---|---|---|---|
"""

ROWS = """
Table 1 has two networks of DCS-DNAS. The table below gives an upper bound on the parameters of any
network of each space that has at most their FLOPs. The bound is a Lagrangian relaxation over all
subgraphs. It is for networks without attention, which adds at most 0.01 M, and counts `conv_macs`,
which gives the loosest bound:

| Table 1 | params, M | FLOPs, G | {spaces} |
|---|---|---|{lines}|
"""


def counts(space: Space) -> Iterator[str]:
    """Table lines of the smallest and the largest network of a space."""
    label = f"`{space.name}` | {len(space.blocks)} | {space.subgraphs:.1e}"
    for end in ("smallest", "largest"):
        architecture = getattr(Architecture, end)(space)
        model = build_model(f"{space.name}_dcs", 1, windows=1, architecture=architecture)
        counted = complexity(model, SIZE)
        figures = " | ".join(f"{count / 1e9:.4f}" for count in counted[1:])
        yield f"| {label} | {end} | {counted.params / 1e6:.3f} | {figures} |\n"
        label = "| |"


def most_params(space: Space, macs: float = np.inf) -> float:
    """Upper bound on the parameters of networks without attention with at most ``macs`` conv_macs.

    For any price >= 0 of a multiply-add, ``max over networks of params - price (conv_macs - macs)``
    is such a bound; the lowest over prices is returned. The maximum is found by dynamic programming
    over blocks, with the width of the map between two blocks as the state.
    """
    unconstrained = _best(space, price=0)
    if macs == np.inf:
        return unconstrained
    priced = minimize_scalar(
        lambda log: _best(space, np.exp(log)) + np.exp(log) * macs, bounds=(-10, -2)
    )
    return min(unconstrained, priced.fun)


def _best(space: Space, price: float) -> float:
    """Maximum over all networks of the parameters minus the price of their multiply-adds."""
    size = strided(SIZE[1:], 2)
    inputs = np.array([space.stem])
    best = np.array([27 * space.stem * (1 - price * np.prod(size)) + 2 * space.stem])
    for block in space.blocks:
        before, size = np.prod(size), strided(size, block.stride)
        after = np.prod(size)
        width = inputs[:, None, None]
        outputs = np.array(block.widths)
        hidden = width * np.array(block.expansions)[:, None]  # (inputs, expansions, 1)
        macs = before * width * hidden + after * hidden * (9 + outputs)
        params = hidden * (width + 9 + outputs) + 2 * (2 * hidden + outputs)
        best = (best[:, None, None] + params - price * macs).max((0, 1))  # (outputs,)
        inputs = outputs
    last_conv = inputs * space.last
    return (best + last_conv + 2 * space.last - price * np.prod(size) * last_conv).max()


def page() -> str:
    """The result page in Markdown."""
    spaces = SPACES.values()
    lines = "---|" * (len(SPACES) - 1) + "---"
    table = ROWS.format(spaces=" | ".join(f"`{space.name}`" for space in spaces), lines=lines)
    for row in DCS_DNAS:
        bounds = (most_params(space, (row.flops + 0.0005) * 1e9) / 1e6 for space in spaces)
        cells = " | ".join(f"{bound:.2f}" for bound in bounds)
        table += f"| {row.method} | {row.params} | {row.flops} | {cells} |\n"
    counted = "".join(line for space in spaces for line in counts(space))
    return f"# {__doc__}{COUNTS}{counted}{table}\n{_conclusion()}{_outside()}"


def _outside() -> str:
    """Counts of two networks of fixed expansion, which are in no space."""
    table = SPACES["fbnetv2_large"].rows
    tripled = (*table[:-1], table[-1]._replace(n=9))
    lines = ""
    for name, rows in (("3", table), ("9, three times FBNetV2's", tripled)):
        cost = complexity(FBNetV2(lambda channels: DCS(channels, windows=1), _fixed(rows)), SIZE)
        figures = f"{cost.params / 1e6:.2f} | {cost.conv_macs / 1e9:.3f}"
        lines += f"| {name} | {figures} | {cost.paper_flops / 1e9:.3f} |\n"
    return f"{OUTSIDE}{lines}"


def _fixed(rows: tuple[Row, ...]) -> Space:
    """The one network with these rows, WIDTHS and an expansion rate of 6."""
    widths, fixed = iter(WIDTHS), [rows[0]._replace(f=(16, 16, 1))]
    width = next(widths)
    for row in rows[1:]:
        fixed.append(row._replace(e=6, f=(width, width, 1)))
        width = next(widths, width) if row.dcs else width
    return Space("fixed", tuple(fixed))


def _conclusion() -> str:
    space = SPACES["fbnetv2_xlarge"]
    most = most_params(space) / 1e6
    classifier = IDENTITIES * space.last / 1e6
    larger, smaller = DCS_DNAS
    gap = smaller.params - most_params(space, (smaller.flops + 0.0005) * 1e9) / 1e6
    widest, imagenet = most_params(SPACES["fbnetv2"]) / 1e6, 1000 * space.last / 1e6
    return f"""\
Neither row can be a network of these tables as printed.

- The larger one has {larger.params} M parameters, more than the largest network of any space:
  {most:.2f} M, or {most + classifier:.2f} M with a classifier of {IDENTITIES} identities.
- The smaller one, {smaller.params} M at {smaller.flops} G, exceeds the bound by {gap:.2f} M. It
  would fit only if its row included such a classifier of {classifier:.2f} M, which the rows
  above it in Table 1 do not.

Table 3 gives FBNetV2 7.50 M parameters. The widest network of `fbnetv2` has {widest:.2f} M, and an
ImageNet classifier {imagenet:.2f} M.
"""


if __name__ == "__main__":
    print(page(), end="")
