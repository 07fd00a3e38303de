"""Answers of a search: as a table, as JSON, and as a picture of the ranked list."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_dcs.evaluation import RankedList
from reid_dcs.gallery.crops import read_crop
from reid_dcs.gallery.pictures import Hit, printable
from reid_dcs.gallery.times import UNKNOWN, format_time
from reid_dcs.visual.ranked_lists import draw_ranked_lists

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
        place = picture.path
        if picture.frame >= 0:
            place += f" frame {picture.frame}"
        if picture.box:
            place += f" box {picture.box}"
        lines.append(
            f"{rank:4}  {hit.similarity:10.4f}  {hit.distance:8.4f}  {_VERDICT[hit.same]:7}  "
            f"{picture.identity:8}  {picture.camera:6}  {format_time(picture.time):19}  "
            f"{printable(place)}".rstrip()
        )
    return "\n".join(lines)


def answer_json(hits: Sequence[Hit], threshold: dict[str, Any] | None) -> str:
    """The threshold, and the hits with path, labels, similarity and distance."""
    return json.dumps(
        {"threshold": threshold, "hits": [_plain(rank, hit) for rank, hit in enumerate(hits, 1)]},
        indent=2,
    )


def draw_answer(question: str | Image.Image, hits: Sequence[Hit], path: Path) -> None:
    """Draw the question and the ranked list; hits within the threshold are framed green.

    Raises:
        InputError: a picture cannot be read, or the file cannot be written.
    """
    matches = np.array([hit.same is not False for hit in hits], dtype=bool)
    distances = np.array([hit.distance for hit in hits])
    ranked = RankedList(0, np.arange(len(hits)), distances, matches, float("nan"))
    crops: list[str | Image.Image] = [
        read_crop(hit.picture) if hit.picture.box else hit.path for hit in hits
    ]
    draw_ranked_lists([ranked], [question], crops, path)


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
