"""Compare trained models on images: Grad-CAM, affinities and windows."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from reid_dcs.data.image_files import check_outside_images, check_picture
from reid_dcs.errors import InputError
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.inference.load import REID
from reid_dcs.visual.pages import (
    created,
    find_images,
    open_networks,
    open_with_attention,
    save_figure,
    write_pages,
)
from reid_dcs.visual.seen import Seen, common_preprocessing, seen
from reid_dcs.visual.text import plain_text
from reid_dcs.weights import ModelCard

ROWS = 8  # images per page of Grad-CAM
BATCH = 64  # images per forward pass
GRID = (4, 2)  # default rows and columns of query positions
MOST = 64  # query positions


def gradcam(
    weights: Sequence[str],
    images: Sequence[str],
    output: str,
    *,
    model: str | None = None,
    identity: int | None = None,
    pair: str | None = None,
    layer: str = "",
) -> list[Path]:
    """Grad-CAM (Figure 3): image regions that support an identity, or a match of two images.

    Args:
        weights: files, or names of the model zoo; a column each.
        images: files, or folders of images; a row each.
        output: folder, outside of those of ``images``, for ``gradcam-PAGE.png``, and
            ``maps/ROW-IMAGE.COLUMN.npy`` for each image and network, such as ``0001-a.1.npy``: the
            raw map (h, w) at the layer's resolution.
        model: name of the architecture, if the weights do not name it.
        identity: training label, or index of a class, to explain; by default the one that each
            network predicts.
        pair: an image; the similarity to it is explained instead of an identity.
        layer: name of a module; by default the last one with a spatial output.

    Returns:
        paths of the pages.

    Raises:
        InputError: invalid weights, images or options; nothing is written.
    """
    from reid_dcs.visual.gradcam import draw_heat_maps, identity_maps, similarity_maps

    check_outside_images(output, images)
    networks, titles = open_networks(weights, model)
    preprocessing = common_preprocessing(networks, weights)
    if pair is None:
        for network, name in zip(networks, weights, strict=True):
            classes = network.card.num_classes
            if not classes:
                raise InputError(f"{name} holds no classifier: pass a second image with --pair")
            if identity is not None and not 0 <= identity < classes:
                flag, what = "--identity", "identities"
                if network.card.task != REID:
                    flag, what = "--class", "classes"
                raise InputError(f"{flag} {identity}: {name} has {what} 0 to {classes - 1}")
    elif others := [w for n, w in zip(networks, weights, strict=True) if n.card.task != REID]:
        raise InputError(
            f"--pair: {others[0]} classifies images and has no similarity: leave it out"
        )
    elif identity is not None:
        raise InputError("--pair and --identity exclude each other: pass one of them")
    else:
        check_picture(pair, "--pair")
    features = None if pair is None else [_feature(network, pair) for network in networks]

    def heat_maps(number: int, batch: list[str]) -> tuple[np.ndarray, list[str]]:
        """Maps (B, h, w) of a network, and a caption for each."""
        network = networks[number]
        inputs = network.inputs(batch)
        if features is not None:
            maps, cosines = similarity_maps(network.model, inputs, features[number], layer)
            return maps, [f"similarity {cosine:.2f}" for cosine in cosines]
        maps, labels = identity_maps(network.model, inputs, identity, layer)
        return maps, [_caption(network.card, label, identity) for label in labels]

    def pages(files: list[Path], folder: Path) -> Iterator[tuple[Figure, int]]:
        for first in range(0, len(files), ROWS):
            batch = files[first : first + ROWS]
            names = [str(file) for file in batch]
            found = [heat_maps(number, names) for number in range(len(networks))]
            for column, (maps, _) in enumerate(found, 1):
                for row, (file, each) in enumerate(zip(batch, maps, strict=True), first + 1):
                    with created(folder / "maps" / f"{row:04}-{file.stem}.{column}.npy") as npy:
                        np.save(npy, each)
            rows = zip(*(maps for maps, _ in found), strict=True)
            notes = zip(*(notes for _, notes in found), strict=True)
            shown = [seen(file, preprocessing).pixels for file in batch]
            yield draw_heat_maps(shown, [*rows], titles, [*notes]), len(batch)

    return write_pages("gradcam", images, output, pages)


def affinity(
    weights: Sequence[str],
    images: Sequence[str],
    output: str,
    *,
    model: str | None = None,
    at: Sequence[tuple[int, int]] = (),
    grid: tuple[int, int] = GRID,
) -> list[Path]:
    """Affinities of query positions at each stage, networks side by side (Figure 1).

    Args:
        weights, images, model: see :func:`gradcam`; one page per image.
        output: folder for ``affinity-PAGE.png``.
        at: query positions, in pixels (x, y) of the original image.
        grid: without ``at``, rows and columns of a grid of query positions; at most :data:`MOST`
            in all.

    Raises:
        InputError: invalid weights, images or positions; nothing is written.
    """
    from reid_dcs.visual.affinity import affinities, draw_affinities

    check_outside_images(output, images)
    rows, columns = grid
    if (len(at) or rows * columns) > MOST:
        given = "--at" if at else f"--grid {rows}x{columns}"
        raise InputError(f"{given}: at most {MOST} query positions are drawn: choose fewer")
    networks, titles = open_with_attention(weights, model)
    preprocessing = common_preprocessing(networks, weights)

    def pages(files: list[Path], folder: Path) -> Iterator[tuple[Figure, int]]:
        for file in files if at else []:
            _points(file, seen(file, preprocessing), at, grid)  # all, before the first page
        for file in files:
            part = seen(file, preprocessing)
            points = _points(file, part, at, grid)
            columns = []
            for network, title in zip(networks, titles, strict=True):
                found = affinities(network.model, network.inputs([str(file)]), points)
                columns += [(stage, title, maps) for stage, maps in enumerate(found.values(), 1)]
            columns.sort(key=lambda column: column[0])  # equal stages side by side
            heads = [f"{title}\nstage {stage}" for stage, title, _ in columns]
            yield draw_affinities(part.pixels, points, [maps for *_, maps in columns], heads), 1

    return write_pages("affinity", images, output, pages)


def windows(
    weights: Sequence[str], images: Sequence[str], output: str, *, model: str | None = None
) -> list[Path]:
    """Channel windows of each position, for one network or several.

    Args:
        weights, images, model: see :func:`gradcam`; one page per image and network.
        output: folder for ``windows-PAGE.png``, and ``channels-NETWORK.png`` over all images.

    Raises:
        InputError: invalid weights or images; nothing is written.
    """
    from reid_dcs.visual.windows import draw_channels, draw_windows, selections

    check_outside_images(output, images)
    networks, titles = open_with_attention(weights, model)

    def pages(files: list[Path], folder: Path) -> Iterator[tuple[Figure, int]]:
        for column, (network, title) in enumerate(zip(networks, titles, strict=True), 1):
            batches = (
                network.inputs([str(file) for file in files[first : first + BATCH]])
                for first in range(0, len(files), BATCH)
            )
            found, preprocessing = selections(network.model, batches), network.card.preprocessing
            for i, file in enumerate(files):
                figure = draw_windows(seen(file, preprocessing).pixels, found, i)
                figure.suptitle(plain_text(title), fontsize=8)
                yield figure, 1 if column == len(networks) else 0
            figure = draw_channels(found)
            figure.suptitle(plain_text(title.replace("\n", ", ")), fontsize=8)
            save_figure(folder / f"channels-{column}.png", figure)

    written = write_pages("windows", images, output, pages)
    print(f"all images together: {output}/channels-*.png")
    return written


def _caption(card: ModelCard, predicted: int, explained: int | None) -> str:
    """Caption of a map: the class that it explains, by default the predicted one."""
    if explained is None or explained == predicted:
        return _label(card, predicted)
    other = str(predicted) if card.task == REID else _label(card, predicted)
    return f"{_label(card, explained)} (predicted: {other})"


def _label(card: ModelCard, label: int) -> str:
    """Name of a class."""
    if card.task == REID:
        return f"identity {label}"
    return card.classes[label] if card.classes else f"class {label}"


def _feature(network: FeatureExtractor, image: str) -> torch.Tensor:
    return network(find_images([image]))[0].to(network.device)


def _points(
    file: Path, part: Seen, at: Sequence[tuple[int, int]], grid: tuple[int, int]
) -> list[tuple[float, float]]:
    """Query positions as fractions of a part's size: ``at``, or the centers of grid cells."""
    height, width = part.pixels.shape[:2]
    right, bottom = part.left + width, part.top + height
    for x, y in at:
        if not (part.left <= x < right and part.top <= y < bottom):
            raise InputError(
                f"--at {x},{y} is outside what the networks see of {file}: x from {part.left} to "
                f"{right - 1}, y from {part.top} to {bottom - 1}"
            )
    if at:
        return [((x - part.left + 0.5) / width, (y - part.top + 0.5) / height) for x, y in at]
    rows, columns = grid
    cells = product(range(rows), range(columns))
    return [((column + 0.5) / columns, (row + 0.5) / rows) for row, column in cells]
