"""Answers of a search: as a table and as a picture."""

import numpy as np
import pytest
from PIL import Image

from reid_dcs.errors import InputError
from reid_dcs.gallery import Hit, Picture
from reid_dcs.gallery.answers import answer_table, draw_answer


def test_a_table_prints_no_control_characters():
    labels = {"identity": "\x1b[31mred", "camera": "hall\x07"}
    table = answer_table([Hit(Picture("/a\x1b.png", **labels), 0.5)], None)
    assert all(line.isprintable() for line in table.splitlines())
    assert r"\x1b[31mred" in table and r"hall\x07" in table and r"/a\x1b.png" in table


@pytest.mark.parametrize("picture", [Picture("gone.png"), Picture("gone.png", box="0,0,4,8")])
def test_a_picture_that_is_gone_is_named(tmp_path, picture):
    question = Image.new("RGB", (16, 32))
    with pytest.raises(InputError, match="gone.png cannot be drawn"):
        draw_answer(question, [Hit(picture, 0.5)], tmp_path / "ranks.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "same, color", [(True, (44, 160, 44)), (False, (214, 39, 40)), (None, (127, 127, 127))]
)
def test_a_frame_tells_the_verdict(tmp_path, same, color):
    """The colors are matplotlib's green, red and grey."""
    Image.new("RGB", (16, 32), "white").save(tmp_path / "a.png")
    hit = Hit(Picture(str(tmp_path / "a.png")), 0.5, same)
    draw_answer(Image.new("RGB", (16, 32), "white"), [hit], tmp_path / "ranks.png")
    pixels = np.asarray(Image.open(tmp_path / "ranks.png").convert("RGB"))
    found = {c: int((pixels == c).all(2).sum()) for c in ((44, 160, 44), (214, 39, 40))}
    found[127, 127, 127] = int((pixels == 127).all(2).sum())
    assert max(found, key=found.__getitem__) == color
    assert sum(number > 50 for number in found.values()) == 1
