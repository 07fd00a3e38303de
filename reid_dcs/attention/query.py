"""``windowed_query``: selecting channels for an affinity is replacing the query (Section 2.2).

A position i with feature x_i selects channels by its windows, and its affinity to every other
position is computed on these. Once i's windows are known, that affinity is bilinear,
``r_ij = x_i^T A_i x_j``. So selection costs no gather: it replaces the query x_i by the
*windowed query* ``y_i = A_i x_i``, and ``R = Y X^T``.
"""

from torch import Tensor

from reid_dcs.attention.bilinear import BilinearQuery
from reid_dcs.attention.interp import InterpolatedQuery
from reid_dcs.attention.mask import MaskedQuery
from reid_dcs.attention.soft import SOFTEST, SoftQuery
from reid_dcs.attention.windows import countable

MODES = {"bilinear": BilinearQuery, "interp": InterpolatedQuery, "mask": MaskedQuery}
DEFAULT_MODE = "bilinear"
"""How windows are read unless a caller or a block says otherwise."""
UNIONS = ("max", "sum")


def windowed_query(
    x: Tensor,
    start: Tensor,
    length: Tensor,
    *,
    mode: str = DEFAULT_MODE,
    union: str = "max",
    softness: float = 0.0,
) -> Tensor:
    """``y_i = A_i x_i``, where A_i is the selection of i's M windows.

    Args:
        x: features, (B, N, C).
        start, length: windows in channels, (B, N, M), or (M,) for the same windows everywhere.
        mode: how a fractional window is read. ``"bilinear"``: Eqs. (3)-(5) on the affinity, the
            blend of the four whole windows around it; ``"interp"``: Eqs. (3)-(5) on the features
            of query and key; ``"mask"``: each channel of the query weighed by its overlap with
            the window. All are equal at whole start and length.
        union: how M windows join: ``"max"`` is the set union at integers; ``"sum"`` counts
            overlaps twice and gives nested windows a gradient.
        softness: the scale of the windows' edges in channels; above 0 they are soft (soft.py),
            whatever the mode and union, which are what is left when a search has annealed it.

    Returns:
        (B, N, C), such that ``y @ x.mT`` is the affinity R of Eq. (2) under i's window.

    Raises:
        ValueError: an unknown mode or union.
    """
    if mode not in tuple(MODES):
        raise ValueError(f"mode must be one of {tuple(MODES)}, not {mode!r}")
    if union not in UNIONS:
        raise ValueError(f"union must be one of {UNIONS}, not {union!r}")
    start, length = countable(start), countable(length)
    if softness > SOFTEST:
        return SoftQuery.apply(x, start, length, softness)
    return MODES[mode].apply(x, start, length, union)
