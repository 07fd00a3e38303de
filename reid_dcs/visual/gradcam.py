"""Grad-CAM: where in an image a network sees what it says (Selvaraju et al., 2017; Figure 3).

The maps A_k of a layer, weighed by how much the target y grows with each: ``ReLU(sum_k a_k A_k)``,
with a_k the mean of ``dy / dA_k`` over positions. The package grad-cam computes them; what is ours
is y: the logit of an identity, or the similarity to another image.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.visual.heat import show_heat

Target = Callable[[Tensor], Tensor]
"""From a network's output for one image to the scalar that is explained."""


class IdentityLogits(nn.Module):
    """A trained network that gives logits in evaluation, where it would give features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, identities)."""
        return self.network.classifier(self.network(images))


class SimilarityTo:
    """The cosine of an image's feature and another one's, (D,): what evaluation ranks by."""

    def __init__(self, feature: Tensor) -> None:
        self.feature = feature

    def __call__(self, output: Tensor) -> Tensor:
        return F.cosine_similarity(output, self.feature, dim=0)


def identity_maps(
    network: nn.Module, images: Tensor, identity: int | None = None, layer: str = ""
) -> tuple[np.ndarray, list[int]]:
    """Where the network sees an identity in each image.

    Args:
        network: in evaluation, with a trained ``classifier``.
        images: (B, 3, H, W), normalised.
        identity: its number in training; by default the one that the network names, each image's.
        layer: see :func:`heat_maps`; by default the last that gives a map.

    Returns:
        maps (B, h, w), and the identity that the network names for each image.
    """
    targets = None if identity is None else [ClassifierOutputTarget(identity)] * len(images)
    layer = layer or last_map(network, images)
    maps, logits = heat_maps(IdentityLogits(network), images, targets, f"network.{layer}")
    return maps, logits.argmax(1).tolist()


def similarity_maps(
    network: nn.Module, images: Tensor, others: Tensor, layer: str = ""
) -> tuple[np.ndarray, list[float]]:
    """Where the network sees what makes each image similar to another one.

    Args:
        network: in evaluation.
        images: (B, 3, H, W), normalised.
        others: features of the other images, (B, D), or of the same one for all, (D,).
        layer: see :func:`heat_maps`; by default the last that gives a map.

    Returns:
        maps (B, h, w), and the similarities.
    """
    targets = [SimilarityTo(own) for own in others.to(images.device).expand(len(images), -1)]
    layer = layer or last_map(network, images)
    maps, features = heat_maps(network, images, targets, layer)
    return maps, [float(target(own)) for target, own in zip(targets, features, strict=True)]


def heat_maps(
    model: nn.Module, images: Tensor, targets: Sequence[Target] | None, layer: str
) -> tuple[np.ndarray, Tensor]:
    """Grad-CAM at the layer's resolution, not scaled.

    Args:
        model: in evaluation.
        images: (B, 3, H, W), normalised.
        targets: one an image; by default each image's largest output.
        layer: name of a module that gives a map (B, D, h, w).

    Returns:
        maps (B, h, w), at least 0, and the model's outputs.

    Raises:
        InputError: no such layer, or it gives no map.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        raise InputError(_unknown_layer(layer, model))
    shape = _output_shapes(model, images[:1]).get(layer, ())
    if len(shape) != 4:
        raise InputError(f"layer {_short(layer)} gives no map (B, D, h, w)")
    with GradCAM(model=model, target_layers=[modules[layer]]) as method:
        method(images, targets)
        seen = method.activations_and_grads
        maps, gradients = (own[0].cpu().numpy() for own in (seen.activations, seen.gradients))
        heat = method.get_cam_image(images, modules[layer], targets, maps, gradients)
        return np.maximum(heat, 0), method.outputs.detach()


def last_map(network: nn.Module, images: Tensor) -> str:
    """Name of the outermost module that is the last to give a map of more than one position.

    Raises:
        InputError: none does: the images are too small for the network.
    """
    shapes = _output_shapes(network, images[:1])
    maps = [name for name, shape in shapes.items() if len(shape) == 4 and shape[2] * shape[3] > 1]
    if not maps:
        raise InputError("no layer gives a map of more than one position: use larger images")
    return maps[-1]


def draw_heat_maps(
    images: Sequence[np.ndarray],
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    notes: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Figure 3: a row an image; the image, then its heat map of each network over it.

    Args:
        images: uint8 (H, W, 3), in their own sizes.
        rows: of each image the map (h, w) of each network; each is scaled to its own largest.
        titles: of the networks.
        notes: of each image, what each map is of.
    """
    cells = [
        [(image, None), *((image, heat) for heat in heats)]
        for image, heats in zip(images, rows, strict=True)
    ]
    said = None if notes is None else [["", *own] for own in notes]
    return _draw_grid(cells, ["image", *titles], said)


def draw_pairs(
    first: Sequence[tuple[np.ndarray, np.ndarray]],
    second: Sequence[tuple[np.ndarray, np.ndarray]],
    titles: tuple[str, str],
    notes: Sequence[str],
) -> Figure:
    """A row a pair of images: each as it is, then where it is similar to the other.

    Args:
        first, second: image, uint8 (H, W, 3), and map (h, w).
        titles: of the two.
        notes: of the pairs.
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
    notes: Sequence[Sequence[str]] | None,
) -> Figure:
    """Images, with or without a map over them; each map is scaled to its own largest."""
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
            if notes:
                grid[i, j].set_xlabel(notes[i][j], fontsize=6)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=7)
    return figure


def _output_shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Of every module that gives one tensor, in the order in which they finish."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _short(layer: str) -> str:
    return layer.removeprefix("network.")


def _unknown_layer(layer: str, model: nn.Module) -> str:
    names = [_short(name) for name, module in model.named_modules() if name and name != "network"]
    close = get_close_matches(_short(layer), names, n=3) or names[-3:]
    return f"the network has no layer {_short(layer)!r}; there are {', '.join(close)}, ..."
