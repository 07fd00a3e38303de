"""Heat maps drawn over images."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage


def show_heat(
    axes: Axes,
    image: np.ndarray,
    heat: np.ndarray,
    limits: tuple[float, float] = (0, 1),
    cmap: str = "turbo",
    smooth: bool = True,
) -> AxesImage:
    """Draw a half-transparent heat map over the image in gray.

    Args:
        axes: the axes to draw on.
        image: uint8, (H, W, 3).
        heat: the map, (h, w) of any resolution; stretched to the size of the image.
        limits: the values at the two ends of the color map.
        cmap: name of a matplotlib color map.
        smooth: interpolate between positions; otherwise each position is a rectangle.

    Returns:
        The drawn map, for a color bar.
    """
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255)
    drawn = axes.imshow(
        heat,
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        alpha=0.5,
        extent=extent,
        interpolation="bilinear" if smooth else "nearest",
    )
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    return drawn
