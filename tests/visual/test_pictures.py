"""Figures of ranked lists and CMC curves."""

import numpy as np
import pytest
from PIL import Image

from reid_dcs import InputError
from reid_dcs.evaluation import RankedList, RankResult
from reid_dcs.visual.cmc import draw_cmc
from reid_dcs.visual.ranked_lists import draw_ranked_lists


@pytest.fixture
def gray_images(tmp_path):
    """Six files of one gray, which no frame has."""
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for path in paths:
        Image.new("RGB", (20, 40), (200, 200, 200)).save(path)
    return paths


def ranked(query: int, matches: list[bool]) -> RankedList:
    images = np.arange(len(matches))
    return RankedList(query, images, images / 10, np.array(matches), 0.5)


def frames(path) -> list[str]:
    """Frame color of each cell from left to right, read from a figure of one row."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red, green, blue = pixels[int(len(pixels) * 0.6)].T
    colors = {
        "match": (green > red + 60) & (green > blue + 60),
        "negative": (red > green + 60) & (red > blue + 60),
        "query": (red < 40) & (green < 40) & (blue < 40),
    }
    starts = []
    for name, mask in colors.items():
        edges = np.flatnonzero(mask[1:] & ~mask[:-1])
        starts += [(edge, name) for edge in edges]
    return [name for _, name in sorted(starts)][::2]  # each frame has a left and a right side


def test_matches_are_framed_green_and_negatives_red(gray_images, tmp_path):
    path = tmp_path / "ranks.png"
    draw_ranked_lists([ranked(0, [True, False, False, True])], gray_images, gray_images, path)
    assert frames(path) == ["query", "match", "negative", "negative", "match"]
    assert not list(tmp_path.glob(".*"))


def test_a_row_for_each_query_and_short_lists(gray_images, tmp_path):
    path = tmp_path / "ranks.png"
    draw_ranked_lists([ranked(0, [True] * 5)], gray_images, gray_images, path)
    one = Image.open(path).size
    draw_ranked_lists(
        [ranked(0, [True] * 5), ranked(1, [False] * 2)], gray_images, gray_images, path
    )
    two = Image.open(path).size
    assert two[0] == one[0] and two[1] == pytest.approx(2 * one[1], abs=2)


def test_an_unreadable_image_is_named(gray_images, tmp_path):
    with open(gray_images[2], "r+b") as file:
        file.truncate(30)
    with pytest.raises(InputError, match="2.png cannot be drawn"):
        draw_ranked_lists([ranked(0, [True] * 4)], gray_images, gray_images, tmp_path / "ranks.png")
    assert not (tmp_path / "ranks.png").exists()


def test_a_cmc_curve_rises_to_the_right(tmp_path):
    cmc = np.array([0.2, 0.5, 0.9], dtype=np.float32)
    draw_cmc(RankResult(cmc, 0.4, 0.1, 10), "a title", tmp_path / "cmc.png")
    pixels = np.asarray(Image.open(tmp_path / "cmc.png").convert("RGB")).astype(int)
    blue = (pixels[..., 2] > pixels[..., 0] + 60) & (pixels[..., 2] > 120)
    rows, columns = np.nonzero(blue)
    low, high = np.percentile(columns, [10, 90])
    assert rows[columns <= low].mean() > rows[columns >= high].mean() + 50
