"""Convert images to uint8 RGB: Pillow images of any mode, and arrays of any number type."""

import numpy as np
from PIL import Image, ImageCms

_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # more than 8 bits, which Pillow cuts off
_ALPHA = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}  # modes that take two steps
_ORIENTATION = 274  # tag of EXIF and TIFF
_UPRIGHT = {  # by orientation, what turns the image upright; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an image, 1 to 8; 1 (upright) if it has none, or a damaged one."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many types of errors on damaged EXIF data
        return 1
    return value if value in _UPRIGHT else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a Pillow image of any mode to RGB, turned as its EXIF orientation says.

    Transparency is left out, as Pillow and torchreid do: a transparent pixel has the color that
    the file gives it. Color profiles are not applied, except to LAB. An animation is its first
    frame. Numbers of 16 bits and floats are scaled; see :func:`to_uint8`.

    Raises:
        ValueError: the image has no pixels, or numbers out of range.
        OSError: it is damaged.
    """
    if not all(image.size):
        raise ValueError(f"the image has no pixels: {image.width}x{image.height}")
    image.load()  # Pillow turns TIFF images itself, here
    turn = _UPRIGHT.get(orientation(image))
    return _as_rgb(image if turn is None else _turned(image, turn))


def _turned(image: Image.Image, turn: Image.Transpose) -> Image.Image:
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP:
        return Image.fromarray(_deep_to_uint8(image)).convert("RGB")
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # it is None in place only
        return converted
    return image.convert(_ALPHA.get(image.mode, image.mode)).convert("RGB")


def _deep_to_uint8(image: Image.Image) -> np.ndarray:
    """Scale a grey image of more than 8 bits: (H, W) uint8.

    The scale of TIFF's 12 bits, and its scale whose zero is white, are those of the file.
    """
    numbers = np.asarray(image)
    if image.mode.startswith("I;16") or image.format == "PPM":  # Pillow scales PPM to 16 bits
        numbers = numbers.astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS) == (12,):
        numbers = np.minimum(numbers, 4095) * (65_535 / 4095)
        numbers = np.rint(numbers).astype(np.uint16)
    pixels = to_uint8(numbers)
    return 255 - pixels if tags.get(_PHOTOMETRIC) == 0 else pixels


def array_to_rgb(array: np.ndarray, bgr: bool = False) -> np.ndarray:
    """Convert an array to RGB: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) -> (H, W, 3) uint8.

    Args:
        array: grey, RGB or RGBA, of any number type; see :func:`to_uint8`. Transparency is left
            out.
        bgr: the channels are blue, green, red, as OpenCV reads them.

    Raises:
        ValueError: another shape, no pixels, or numbers out of range.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ValueError(
            f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}"
        )
    if not array.size:
        raise ValueError(f"the image has no pixels: its shape is {array.shape}")
    pixels = to_uint8(array).reshape(*array.shape[:2], channels)
    if channels == 1:
        return pixels.repeat(3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1] if bgr else pixels[..., :3])


def to_uint8(numbers: np.ndarray) -> np.ndarray:
    """Scale numbers to 0 to 255, rounded to the nearest.

    Booleans are black and white. uint16 has a full scale of 65,535. Floats are fractions if none
    is above 1, and otherwise, as other integers, on the scale of uint8; integers of which one is
    above 255 are on that of uint16.

    Raises:
        ValueError: a number is negative, not finite or above the scale, or these are no numbers.
    """
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype == bool:
        return numbers * np.uint8(255)
    if numbers.dtype.kind not in "iuf":
        raise ValueError(f"an image must hold numbers, not {numbers.dtype}")
    low, high = float(numbers.min()), float(numbers.max())
    is_float = numbers.dtype.kind == "f"
    scale = 1.0 if is_float and high <= 1 else 255.0
    if numbers.dtype == np.uint16 or (not is_float and high > 255):
        scale = 65_535.0
    if not 0 <= low <= high <= scale:  # False for NaN, too
        raise ValueError(f"an image must hold numbers from 0 to {scale:g}, not {low} to {high}")
    return np.rint(numbers.astype(np.float64) * (255 / scale)).astype(np.uint8)
