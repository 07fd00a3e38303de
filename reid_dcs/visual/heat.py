"""A map of numbers over the image that it is about."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage


def show_heat(
    axes: Axes,
    image: np.ndarray,
    heat: np.ndarray,
    limits: tuple[float, float] = (0, 1),
    colours: str = "turbo",
    smooth: bool = True,
) -> AxesImage:
    """Lay a map over its image, half transparent.

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w), of any resolution: it is stretched over the image.
        limits: what the ends of the colours mean.
        smooth: between the centres of positions; else each is a rectangle.

    Returns:
        what a colour bar needs.
    """
    height, width = image.shape[:2]
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255)
    shown = axes.imshow(
        heat,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        alpha=0.5,
        extent=whole,
        interpolation="bilinear" if smooth else "nearest",
    )
    axes.set(xlim=whole[:2], ylim=whole[2:], xticks=[], yticks=[])
    return shown
