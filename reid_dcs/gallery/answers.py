"""Answers of a search: as a table, as JSON, and as a picture of the ranked list."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankedList
from reid_dcs.files import written_whole
from reid_dcs.gallery.crops import read_crop
from reid_dcs.gallery.pictures import Hit, Picture, printable
from reid_dcs.gallery.times import UNKNOWN, format_time
from reid_dcs.visual.ranked_lists import ranked_lists_figure

_UNDECIDED = "tab:gray"  # color of a frame
_VERDICT = {True: "same", False: "other", None: ""}


def answer_table(hits: Sequence[Hit], threshold: dict[str, Any] | None) -> str:
    """One line per hit; with a threshold also whether it counts as the same person."""
    lines = []
    if threshold:
        lines.append(
            f"same person: distance at most {threshold['distance']:.4f} "
            f"(false-accept rate {threshold['far']:.2%} on {threshold['dataset']})"
        )
    if not hits:
        lines.append("no picture meets the filters")
        return "\n".join(lines)
    lines.append("rank  similarity  distance  verdict  identity  camera  time                 file")
    for rank, hit in enumerate(hits, 1):
        picture = hit.picture
        identity, camera, place = map(printable, (picture.identity, picture.camera, picture.path))
        if picture.frame >= 0:
            place += f" frame {picture.frame}"
        if picture.box:
            place += f" box {picture.box}"
        lines.append(
            f"{rank:4}  {hit.similarity:10.4f}  {hit.distance:8.4f}  {_VERDICT[hit.same]:7}  "
            f"{identity:8}  {camera:6}  {format_time(picture.time):19}  "
            f"{place}".rstrip()
        )
    return "\n".join(lines)


def answer_json(hits: Sequence[Hit], threshold: dict[str, Any] | None) -> str:
    """The threshold, and the hits with path, labels, similarity and distance."""
    return json.dumps(
        {"threshold": threshold, "hits": [_plain(rank, hit) for rank, hit in enumerate(hits, 1)]},
        indent=2,
    )


def draw_answer(question: str | Image.Image, hits: Sequence[Hit], path: Path) -> None:
    """Draw the question and the ranked list as a PNG.

    Hits within the threshold are framed green, others red; without a threshold all are grey.

    Raises:
        InputError: a picture cannot be read, or the file cannot be written.
    """
    matches = np.array([hit.same is True for hit in hits], dtype=bool)
    distances = np.array([hit.distance for hit in hits])
    ranked = RankedList(0, np.arange(len(hits)), distances, matches, float("nan"))
    figure = ranked_lists_figure([ranked], [question], [_pixels(each.picture) for each in hits])
    for axes, hit in zip(figure.axes[1:], hits, strict=True):
        if hit.same is None:
            axes.title.set_color(_UNDECIDED)
            axes.spines[:].set_color(_UNDECIDED)
    with written_whole(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _pixels(picture: Picture) -> str | Image.Image:
    """The person in a box; of a whole picture the file, which is decoded when it is drawn."""
    if not picture.box:
        return picture.path
    try:
        return read_crop(picture)
    except OSError as error:
        place = printable(picture.path)
        raise InputError(f"{place} cannot be drawn: it is missing, unreadable or truncated") from (
            error
        )


def _plain(rank: int, hit: Hit) -> dict[str, Any]:
    picture = hit.picture
    return {
        "rank": rank,
        "path": picture.path,
        "identity": picture.identity,
        "camera": picture.camera,
        "time": None if picture.time == UNKNOWN else picture.time / 1000,
        "frame": None if picture.frame < 0 else picture.frame,
        "box": [int(side) for side in picture.box.split(",")] if picture.box else None,
        "similarity": hit.similarity,
        "distance": hit.distance,
        "same": hit.same,
    }
