"""The spaces of Tables 5 and 6 counted, and what of the paper's DCS-DNAS can be in them.

    python benchmarks/studies/spaces.py > benchmarks/studies/results/spaces.md

One window a position, images of 384x128; trunk and attention, no classifier. `conv_macs` and
`paper_flops` are two ways of counting (reid_dcs/models/complexity.py).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from reid_dcs import build_model
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.complexity import complexity
from reid_dcs.models.space import SPACES, Space
from reid_dcs.search.cost import strided

SIZE = 3, 384, 128
IDENTITIES = 751  # in training on Market-1501


class Row(NamedTuple):
    """What the paper prints of a searched network."""

    method: str
    params: float  # M
    flops: float  # G


DCS_DNAS = (Row("DCS-DNAS, the larger", 24.5, 1.809), Row("DCS-DNAS, the smaller", 13.2, 1.239))

COUNTS = """
| space | blocks | subgraphs | | params, M | conv_macs, G | total_macs, G | paper_flops, G |
|---|---|---|---|---|---|---|---|
"""

ROWS = """
Table 1 has two networks of DCS-DNAS. How many parameters can a network of each space have that
costs no more than theirs? An upper bound, by the Lagrangian relaxation over all subgraphs, for
networks without attention (attention adds 0.01 M at most), counted as `conv_macs`, which allows the
most:

| Table 1 | params, M | FLOPs, G | {spaces} |
|---|---|---|{lines}|
"""


def counts(space: Space) -> Iterator[str]:
    """The smallest and the largest network of a space."""
    label = f"`{space.name}` | {len(space.blocks)} | {space.subgraphs:.1e}"
    for end in ("smallest", "largest"):
        architecture = getattr(Architecture, end)(space)
        model = build_model(f"{space.name}_dcs", 1, windows=1, architecture=architecture)
        counted = complexity(model, SIZE)
        figures = " | ".join(f"{count / 1e9:.4f}" for count in counted[1:])
        yield f"| {label} | {end} | {counted.params / 1e6:.3f} | {figures} |\n"
        label = "| |"


def most_params(space: Space, macs: float = np.inf) -> float:
    """No network of the space without attention has more parameters at so many ``conv_macs``.

    For any price of a multiply-add, ``max(params - price (own macs - macs))`` over all networks
    bounds those that cost no more than ``macs``. A maximum over all networks is found block by
    block, for each width of the map between two blocks. The bound is the lowest over prices.
    """
    free = _best(space, price=0)
    if macs == np.inf:
        return free
    priced = minimize_scalar(
        lambda log: _best(space, np.exp(log)) + np.exp(log) * macs, bounds=(-10, -2)
    )
    return min(free, priced.fun)


def _best(space: Space, price: float) -> float:
    """The most that parameters less the price of multiply-adds come to."""
    size = strided(SIZE[1:], 2)
    inputs = np.array([space.stem])
    best = np.array([27 * space.stem * (1 - price * np.prod(size)) + 2 * space.stem])
    for block in space.blocks:
        before, size = np.prod(size), strided(size, block.stride)
        after = np.prod(size)
        w = inputs[:, None, None]
        outputs = np.array(block.widths)
        hidden = w * np.array(block.expansions)[:, None]  # (inputs, expansions, 1)
        macs = before * w * hidden + after * hidden * (9 + outputs)
        params = hidden * (w + 9 + outputs) + 2 * (2 * hidden + outputs)
        best = (best[:, None, None] + params - price * macs).max((0, 1))  # (outputs,)
        inputs = outputs
    own = inputs * space.last
    return (best + own + 2 * space.last - price * np.prod(size) * own).max()


def page() -> str:
    """The whole of it, in Markdown."""
    spaces = SPACES.values()
    lines = "---|" * (len(SPACES) - 1) + "---"
    table = ROWS.format(spaces=" | ".join(f"`{space.name}`" for space in spaces), lines=lines)
    for row in DCS_DNAS:
        bounds = (most_params(space, (row.flops + 0.0005) * 1e9) / 1e6 for space in spaces)
        cells = " | ".join(f"{bound:.2f}" for bound in bounds)
        table += f"| {row.method} | {row.params} | {row.flops} | {cells} |\n"
    counted = "".join(line for space in spaces for line in counts(space))
    return f"# {__doc__}{COUNTS}{counted}{table}\n{_verdict()}"


def _verdict() -> str:
    space = SPACES["fbnetv2_xlarge"]
    most = most_params(space) / 1e6
    classifier = IDENTITIES * space.last / 1e6
    larger, smaller = DCS_DNAS
    bound = most_params(space, (smaller.flops + 0.0005) * 1e9) / 1e6
    own, imagenet = most_params(SPACES["fbnetv2"]) / 1e6, 1000 * space.last / 1e6
    return f"""\
So neither row is of a network of these tables as they are printed. {larger.params} M is more than
the largest network of all has ({most:.2f} M, and {most + classifier:.2f} M with a classifier of
{IDENTITIES} identities). {smaller.params} M at {smaller.flops} G misses the bound by
{smaller.params - bound:.2f} M: there is room for it only if that row counted such a classifier of
{classifier:.2f} M, as the rows above it do not. Table 3 gives FBNetV2 7.50 M parameters: the widest
of `fbnetv2` has {own:.2f} M, and an ImageNet classifier {imagenet:.2f} M.
"""


if __name__ == "__main__":
    print(page(), end="")
