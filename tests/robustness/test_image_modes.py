"""Images of every mode: converted as a plain reference converts them, or refused by name."""

import numpy as np
import pytest
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.check import inspect_dataset
from reid_dcs.data.decode import read_images, read_pixels
from reid_dcs.data.mapped import fingerprint

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (6, 4, 3), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65_536, (6, 4)).astype(np.uint16)
DARK = RANDOM.integers(0, 200, (6, 4)).astype(np.uint16)  # of 65,535: nearly black
ORIENTED = {  # the upright image -> what a camera of this orientation writes
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_images_are_turned_upright_once(orientation, form, tmp_path):
    upright = np.zeros((48, 32, 3), np.uint8)
    upright[:16, :16], upright[16:, 16:] = (250, 10, 10), (10, 10, 250)
    exif = Image.Exif()
    exif[274] = orientation
    written = Image.fromarray(np.ascontiguousarray(ORIENTED[orientation](upright)))
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(form, {})
    written.save(tmp_path / "x", form, exif=exif, **options)
    found = read_pixels(tmp_path / "x").astype(int)
    assert found.shape == upright.shape
    inside = [(4, 4), (4, 28), (40, 4), (40, 28)]  # away from the edges that JPEG blurs
    assert all(abs(found[place] - upright[place]).max() < 12 for place in inside)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM" * 9])
def test_damaged_exif_data_does_not_cost_the_image(exif, tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "x.png"), RGB)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_is_none_is_ignored(value, tmp_path):
    exif = Image.Exif()
    exif[274] = value
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "x.png"), RGB)


def palette() -> Image.Image:
    image = Image.fromarray(RGB[:, :, 0] % 4, "P")
    image.putpalette(list(RGB.reshape(-1)[:12]))
    return image


ALPHA = RANDOM.integers(0, 256, (6, 4), dtype=np.uint8)
CASES = {  # image, format, reference
    "1": (Image.fromarray(RGB[..., 0] > 99).convert("1"), "PNG", grey((RGB[..., 0] > 99) * 255)),
    "L": (Image.fromarray(RGB[..., 0]), "PNG", grey(RGB[..., 0])),
    "LA": (Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA"), "PNG", grey(RGB[..., 0])),
    "RGBA": (Image.fromarray(np.dstack([RGB, ALPHA]), "RGBA"), "PNG", RGB),
    "RGBA, TIFF": (Image.fromarray(np.dstack([RGB, ALPHA]), "RGBA"), "TIFF", RGB),
    "P": (palette(), "PNG", RGB.reshape(-1)[:12].reshape(4, 3)[RGB[..., 0] % 4]),
    "P, GIF": (palette(), "GIF", RGB.reshape(-1)[:12].reshape(4, 3)[RGB[..., 0] % 4]),
    "CMYK": (
        Image.fromarray(np.dstack([255 - RGB, 0 * ALPHA]), "CMYK"),
        "TIFF",
        RGB,
    ),
    "I;16, PNG": (Image.fromarray(DEEP), "PNG", grey(DEEP / 257)),
    "I;16, TIFF": (Image.fromarray(DEEP), "TIFF", grey(DEEP / 257)),
    "I;16, PPM": (Image.fromarray(DEEP), "PPM", grey(DEEP / 257)),
    "dark I;16": (Image.fromarray(DARK), "PNG", grey(DARK / 257)),
    "dark I;16, PPM": (Image.fromarray(DARK), "PPM", grey(DARK / 257)),
    "I": (Image.fromarray(DEEP.astype(np.int32)), "TIFF", grey(DEEP / 257)),
    "F, 0 to 1": (Image.fromarray((DEEP / 65_535).astype(np.float32)), "TIFF", grey(DEEP / 257)),
    "F, 0 to 255": (Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF", grey(RGB[..., 0])),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mode_is_converted_as_its_reference(case, tmp_path):
    image, form, reference = CASES[case]
    image.save(tmp_path / "x", form)
    found = read_pixels(tmp_path / "x").astype(int)
    assert abs(found - reference.astype(int)).max() <= 1


def test_a_tiff_whose_zero_is_white(tmp_path):
    tags = {262: 0}
    Image.fromarray(DEEP).save(tmp_path / "x.tif", tiffinfo=tags)
    with Image.open(tmp_path / "x.tif") as image:
        assert image.tag_v2[262] == 0
    assert abs(read_pixels(tmp_path / "x.tif").astype(int) - grey(255 - DEEP / 257)).max() <= 1


@pytest.mark.parametrize("numbers", [[-1, 0], [0, 300], [0, float("nan")], [0, float("inf")]])
def test_numbers_that_are_no_brightness_are_refused_by_name(numbers, tmp_path):
    levels = np.resize(np.array(numbers, np.float32), (6, 4))
    path = tmp_path / "x.tif"
    Image.fromarray(levels).save(path)
    with pytest.raises(InputError, match=r"1 unreadable.*x.tif \(an image must hold numbers from"):
        list(read_images([str(path)], 8, 8, "x"))


def test_the_check_says_what_it_saw(tmp_path):
    for split, camera in (("train", 1), ("query", 1), ("gallery", 2)):
        (tmp_path / split).mkdir()
        Image.fromarray(RGB + np.uint8(camera)).save(tmp_path / split / f"1_c{camera}.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RGB).save(tmp_path / "train/2_c1.png", exif=exif)
    Image.fromarray(DEEP).save(tmp_path / "train/3_c1.tif")
    Image.fromarray(np.full((6, 4), -1, np.float32)).save(tmp_path / "train/4_c1.tif")
    report = inspect_dataset("folder", str(tmp_path), {})
    assert report.kinds == {
        "PNG RGB": 4,
        "TIFF I;16": 1,
        "turned upright as their EXIF orientation says": 1,
    }
    (place,) = dict(report.findings)["unreadable image(s)"]
    assert "4_c1.tif (TIFF F: an image must hold numbers" in place


def test_stores_of_the_earlier_conversion_are_not_used(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "x.png")
    now = fingerprint([str(tmp_path / "x.png")], 8, 8)
    monkeypatch.setattr("reid_dcs.data.mapped.FORMAT", 1)  # no EXIF orientation, 16 bits cut off
    assert fingerprint([str(tmp_path / "x.png")], 8, 8) != now
