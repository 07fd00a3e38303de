"""Grad-CAM: the image regions that support an identity or a similarity (Figure 3).

Selvaraju et al. (2017): ``ReLU(sum_k a_k A_k)``, where A_k are the activation maps of a layer and
a_k is the mean over positions of ``dy / dA_k`` for a scalar target y. The grad-cam package computes
the maps; this module provides y: the logit of an identity, or the cosine similarity to an image.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.models import ClassificationNetwork
from reid_dcs.runtime.hooks import probe
from reid_dcs.visual.heat import show_heat
from reid_dcs.visual.text import plain_text

Target = Callable[[Tensor], Tensor]
"""Maps a network's output for one image to the scalar y that is explained."""


class IdentityLogits(nn.Module):
    """Wrapper that returns logits in evaluation mode, where a Re-ID network returns features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_classes)."""
        outputs = self.network(images)
        if isinstance(self.network, ClassificationNetwork):
            return outputs
        return self.network.get_submodule("classifier")(outputs)


class SimilarityTo:
    """Target: cosine similarity to a given feature (D,), as used for ranking."""

    def __init__(self, feature: Tensor) -> None:
        self.feature = feature

    def __call__(self, output: Tensor) -> Tensor:
        return F.cosine_similarity(output, self.feature, dim=0)


def identity_maps(
    network: nn.Module, images: Tensor, identity: int | None = None, layer: str = ""
) -> tuple[np.ndarray, list[int]]:
    """Grad-CAM maps of the logit of an identity.

    Args:
        network: a network in evaluation mode with a trained ``classifier``.
        images: normalized images, (B, 3, H, W).
        identity: class index in training; by default the predicted identity of each image.
        layer: see :func:`heat_maps`; by default :func:`last_map`.

    Returns:
        Maps (B, h, w), and the predicted identity of each image.
    """
    targets = None if identity is None else [ClassifierOutputTarget(identity)] * len(images)
    layer = layer or last_map(network, images)
    maps, logits = heat_maps(IdentityLogits(network), images, targets, f"network.{layer}")
    return maps, logits.argmax(1).tolist()


def similarity_maps(
    network: nn.Module, images: Tensor, others: Tensor, layer: str = ""
) -> tuple[np.ndarray, list[float]]:
    """Grad-CAM maps of the cosine similarity of each image to another image.

    Args:
        network: a network in evaluation mode.
        images: normalized images, (B, 3, H, W).
        others: features of the other images, (B, D), or one feature for all, (D,).
        layer: see :func:`heat_maps`; by default :func:`last_map`.

    Returns:
        Maps (B, h, w), and the cosine similarities.
    """
    targets = [SimilarityTo(other) for other in others.to(images.device).expand(len(images), -1)]
    layer = layer or last_map(network, images)
    maps, features = heat_maps(network, images, targets, layer)
    cosines = [float(target(feature)) for target, feature in zip(targets, features, strict=True)]
    return maps, cosines


def heat_maps(
    model: nn.Module, images: Tensor, targets: Sequence[Target] | None, layer: str
) -> tuple[np.ndarray, Tensor]:
    """Grad-CAM maps at the resolution of the layer, not scaled.

    Args:
        model: a model in evaluation mode.
        images: normalized images, (B, 3, H, W).
        targets: one target per image; by default the largest output of each image.
        layer: name of a module with an output of shape (B, D, h, w).

    Returns:
        Maps (B, h, w), all values at least 0, and the outputs of the model.

    Raises:
        InputError: no module has this name, or its output has another shape.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        raise InputError(_unknown_layer(layer, model))
    shape = _output_shapes(model, images).get(layer, ())
    if len(shape) != 4:
        raise InputError(f"layer {_short(layer)} gives no map (B, D, h, w)")
    with GradCAM(model=model, target_layers=[modules[layer]]) as cam:
        cam(images, targets)
        recorded = cam.activations_and_grads
        activations = recorded.activations[0].cpu().numpy()  # (B, D, h, w)
        gradients = recorded.gradients[0].cpu().numpy()  # (B, D, h, w)
        maps = cam.get_cam_image(images, modules[layer], targets, activations, gradients)
        return np.maximum(maps, 0), cam.outputs.detach()


def last_map(network: nn.Module, images: Tensor) -> str:
    """Name of the last module whose output is a map (B, D, h, w) with more than one position.

    Where several modules return that same map, the outermost one is named.

    Raises:
        InputError: no module has such an output: the images are too small for the network.
    """
    shapes = _output_shapes(network, images)
    maps = [name for name, shape in shapes.items() if len(shape) == 4 and shape[2] * shape[3] > 1]
    if not maps:
        raise InputError("no layer gives a map of more than one position: use larger images")
    return maps[-1]


def draw_heat_maps(
    images: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    notes: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Figure 3: one row per image, the image and then the heat map of each network over it.

    Args:
        images: uint8, (H, W, 3) each, of any sizes.
        maps: for each image, the map (h, w) of each network; each map is scaled to its maximum.
        titles: one title per network.
        notes: for each image, the label below each map.
    """
    cells = [
        [(image, None), *((image, heat) for heat in heats)]
        for image, heats in zip(images, maps, strict=True)
    ]
    labels = None if notes is None else [["", *row] for row in notes]
    return _draw_grid(cells, ["image", *titles], labels)


def draw_pairs(
    first: Sequence[tuple[np.ndarray, np.ndarray]],
    second: Sequence[tuple[np.ndarray, np.ndarray]],
    titles: tuple[str, str],
    notes: Sequence[str],
) -> Figure:
    """Plot one row per pair of images: each image, then its similarity map to the other.

    Args:
        first, second: for each pair, the image, uint8 (H, W, 3), and its map (h, w).
        titles: the titles of the two image columns.
        notes: the label of each pair.
    """
    cells = [
        [(one[0], None), one, (other[0], None), other]
        for one, other in zip(first, second, strict=True)
    ]
    columns = [titles[0], "similar to the other", titles[1], "similar to the other"]
    return _draw_grid(cells, columns, [["", note, "", ""] for note in notes])


def _draw_grid(
    cells: Sequence[Sequence[tuple[np.ndarray, np.ndarray | None]]],
    titles: Sequence[str],
    labels: Sequence[Sequence[str]] | None,
) -> Figure:
    """Plot a grid of images; a map, scaled to its maximum, is drawn over its image."""
    rows, columns = len(cells), len(titles)
    figure = Figure(figsize=(1.35 * columns + 0.3, 2.5 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, row in enumerate(cells):
        for j, (image, heat) in enumerate(row):
            if heat is None:
                grid[i, j].imshow(image)
            else:
                show_heat(grid[i, j], image, heat / max(heat.max(), np.finfo(np.float32).tiny))
            if labels:
                grid[i, j].set_xlabel(plain_text(labels[i][j]), fontsize=6)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(plain_text(title), fontsize=7)
    return figure


def _output_shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape of every module that returns one tensor, in order of completion."""
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor):
            shapes[name] = tuple(output.shape)

    probe(model, images.shape[1:], record)
    return shapes


def _short(layer: str) -> str:
    return layer.removeprefix("network.")


def _unknown_layer(layer: str, model: nn.Module) -> str:
    names = [_short(name) for name, module in model.named_modules() if name and name != "network"]
    close = get_close_matches(_short(layer), names, n=3) or names[-3:]
    return f"the network has no layer {_short(layer)!r}; there are {', '.join(close)}, ..."
