"""Images: opened at one place, of a few formats, of a bounded number of pixels."""

import ast
import resource
import struct
import zlib

import pytest
from helpers.paths import REPOSITORY
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data.check import _open
from reid_dcs.data.decode import read_images, read_pixels
from reid_dcs.data.image_files import FORMATS, ImageRefused, open_image

FILES = sorted((REPOSITORY / "reid_dcs").rglob("*.py"))
OPENERS = {"Image.open", "cv2.imread", "imageio.imread", "plt.imread", "io.read_image", "io.imread",
           "io.decode_image", "ImageFile.Parser", "image.imread"}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_image_files_are_opened_at_one_place(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ".".join(ast.unparse(node.func).split(".")[-2:])
            assert called not in OPENERS or path.name == "image_files.py", f"line {node.lineno}"


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_read(form, tmp_path):
    image = Image.new("RGB", (8, 16), (200, 30, 40))
    image.save(tmp_path / "x.jpg", form)  # the name decides nothing
    assert abs(read_pixels(tmp_path / "x.jpg")[3, 3].astype(int) - (200, 30, 40)).max() < 10
    assert _open(str(tmp_path / "x.jpg")).fault == ""


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(trap) (w) file\n%%EOF\n"
OTHERS = {
    "eps": EPS,
    "eps of DOS": b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 32, len(EPS), 0, 0, 0, 0) + b"  " + EPS,
    "pdf": b"%PDF-1.4\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "text": b"no image",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_start_no_program(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    path = tmp_path / "x.jpg"
    path.write_bytes(OTHERS[kind])
    with pytest.raises(ImageRefused, match="not one of JPEG"):
        open_image(path)
    assert _open(str(path)).fault == "unreadable"
    with pytest.raises(InputError, match=r"1 unreadable.*x.jpg \(not one of"):
        list(read_images([str(path)], 8, 8, "x"))


def png(width: int, height: int) -> bytes:
    """A PNG that says its size, and has few pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("size", [(13_000, 13_000), (10_000, 5_001), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size, tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(png(*size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"1 unreadable.*x.jpg \(.*more than 50,000,000 pixels"):
        list(read_images([str(path)], 8, 8, "x"))
    assert _open(str(path)).fault == "unreadable"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # kB


@pytest.mark.parametrize("size", [(100_000, 4), (4, 100_000), (2, 2_000_000)])
@pytest.mark.parametrize("crop", [0.0, 0.875])
def test_a_long_image_is_refused_before_it_takes_more_memory(size, crop, tmp_path, monkeypatch):
    Image.new("1", size).save(tmp_path / "x.png")
    resized = []
    monkeypatch.setattr(Image.Image, "resize", lambda image, size, _: resized.append(size) or image)
    pixels = read_images([str(tmp_path / "x.png")], 256, 128, "x", crop=crop)
    if not crop and size != (2, 2_000_000):  # 400,000 pixels at most
        next(pixels)
        assert resized == [(128, 256)]
        return
    with pytest.raises(InputError, match=r"1 unreadable.*x.png \(.* more than 50,000,000 pixels"):
        list(pixels)
    assert not resized


@pytest.mark.parametrize(
    "size, crop, most, named",
    [
        ((40, 4), 1.0, 8 * 80, "40x4 takes 80x8 to resize"),
        ((4, 40), 1.0, 8 * 80, "4x40 takes 8x80 to resize"),
        ((4, 80), 0.0, 8 * 80, "4x80 takes 8x80 to resize"),
    ],
)
def test_a_long_image_within_the_limit_is_resized(size, crop, most, named, tmp_path, monkeypatch):
    path = str(tmp_path / "x.png")
    Image.new("L", size, 9).save(path)
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", str(most))
    (pixels,) = read_images([path], 8, 8, "x", crop=crop)
    assert pixels.shape == (8, 8, 3) and (pixels == 9).all()
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", str(most - 1))
    with pytest.raises(InputError, match=f"{named}, more than {most - 1} pixels"):
        list(read_images([path], 8, 8, "x", crop=crop))


@pytest.mark.parametrize("crop", [0.0, 0.875])
def test_the_size_of_the_network_is_never_too_much(crop, tmp_path, monkeypatch):
    Image.new("RGB", (5, 10)).save(tmp_path / "x.png")
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", "50")
    (pixels,) = read_images([str(tmp_path / "x.png")], 256, 128, "x", crop=crop)
    assert pixels.shape == (256, 128, 3)


def test_the_number_of_pixels_is_a_setting(tmp_path, monkeypatch):
    Image.new("RGB", (20, 10)).save(tmp_path / "x.png")
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", "199")
    with pytest.raises(ImageRefused, match="20x10 is more than 199 pixels; REID_DCS_MAX_PIXELS"):
        open_image(tmp_path / "x.png")
    monkeypatch.setenv("REID_DCS_MAX_PIXELS", "200")
    assert open_image(tmp_path / "x.png").size == (20, 10)
    for wrong in ("many", "-1", "0", "1e9", "²"):
        monkeypatch.setenv("REID_DCS_MAX_PIXELS", wrong)
        with pytest.raises(InputError, match="expected a whole number"):
            open_image(tmp_path / "x.png")
