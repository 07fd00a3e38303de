"""What Pillow raises on damaged files is one kind of error, and JPEG files are written anywhere."""

import os

import cv2
import numpy as np
import pytest
from helpers.detection_run import TINY
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.datasets.synthetic import Synthesis, draw_dataset
from reid_dcs.data.decode import read_images, read_rgb
from reid_dcs.data.image_files import ImageRefused, open_image, write_jpeg
from reid_dcs.tasks.detection.data.scenes import draw_scenes

NOT_UTF_8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (8, 6), (10, 20, 30)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def broken(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError, SyntaxError, TypeError, KeyError, EOFError])
@pytest.mark.parametrize("part", ["open", "Image.load", "Image.convert"])
def test_every_error_of_pillow_names_the_file(picture, monkeypatch, error, part):
    place = "PIL.Image.open" if part == "open" else f"PIL.Image.{part}"
    Image.new("L", (8, 6)).save(picture)
    monkeypatch.setattr(place, broken(error("odd")))
    with pytest.raises(OSError, match="odd"):
        read_rgb(picture)
    with pytest.raises(InputError, match=r"1 unreadable.*x\.png"):
        list(read_images([str(picture)], 8, 8, "x"))


def test_missing_memory_is_no_damage(picture, monkeypatch):
    monkeypatch.setattr("PIL.Image.open", broken(MemoryError()))
    with pytest.raises(MemoryError):
        open_image(picture)


def test_what_pillow_takes_for_a_bomb_is_refused(picture, monkeypatch):
    monkeypatch.setattr("PIL.Image.open", broken(Image.DecompressionBombError("big")))
    with pytest.raises(ImageRefused, match="more than 50,000,000 pixels"):
        open_image(picture)


def test_a_jpeg_is_that_of_opencv(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 3)).astype(np.uint8)
    write_jpeg(tmp_path / "a.jpg", pixels)
    cv2.imwrite(str(tmp_path / "b.jpg"), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    with pytest.raises(InputError, match=r"cannot write .*/none/a\.jpg: No such file"):
        write_jpeg(tmp_path / "none/a.jpg", pixels)
    with pytest.raises(InputError, match="a side of a JPEG has at most 65,500 pixels"):
        write_jpeg(tmp_path / "c.jpg", np.zeros((65_501, 1, 3), np.uint8))
    assert not (tmp_path / "c.jpg").exists()


@pytest.mark.parametrize("draw", [draw_scenes, draw_dataset])
def test_sets_are_generated_in_a_folder_whose_name_is_not_utf_8(tmp_path, draw):
    root = tmp_path / NOT_UTF_8
    size = TINY if draw is draw_scenes else Synthesis(1, 1, 2)
    draw(root / "set", size)
    draw(tmp_path / "plain", size)
    files = [
        {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*.jpg")}
        for top in (root / "set", tmp_path / "plain")
    ]
    assert files[0] == files[1] and len(files[0]) >= 9
    assert sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock")) == [
        "set"
    ]
