"""Frames of a video, read by OpenCV."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reid_dcs.data.image_files import max_pixels
from reid_dcs.files import regular

COMPLETE, SLACK = 0.9, 5
"""Fraction of the frames that a video says it has, less a number of frames, below which it breaks
off: formats that estimate it from other tracks are slightly wrong."""


def read_frames(path: Path, every: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """Frames of a video, one per ``every`` seconds.

    Yields:
        number of the frame from 0, its time from the start in ms, and the frame, (H, W, 3) uint8,
        RGB.

    Raises:
        OSError: it is no video, or none that OpenCV reads; or, after its frames, it breaks off.
    """
    import cv2

    with _opened(path) as (video, rate):
        number, due, last = 0, 0.0, 0.0
        while video.grab():
            last = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = number / rate
            if seconds >= due - 1e-6:
                decoded, frame = video.retrieve()
                if decoded:
                    yield number, _milliseconds(number, rate), _rgb(frame, path)
                due += every
            number += 1
        if not number:
            raise OSError("no frame can be decoded")
        # by number or by time: a video may leave out frames that it counts
        reached = max(number, round(last * rate) + 1)
        expected = video.get(cv2.CAP_PROP_FRAME_COUNT)
        if reached + SLACK < COMPLETE * expected and not _is_whole_mp4(path):
            raise OSError(f"breaks off after {number / rate:.0f} of {expected / rate:.0f} seconds")


def read_frame(path: Path, number: int) -> np.ndarray:
    """One frame of a video: (H, W, 3) uint8, RGB.

    Raises:
        OSError: the video has no such frame, or cannot be read.
    """
    import cv2

    with _opened(path) as (video, _):
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        decoded, frame = video.read()
    if not decoded:
        raise OSError(f"{path} has no frame {number}")
    return _rgb(frame, path)


def frame_times(path: Path, numbers: Iterable[int]) -> dict[int, int]:
    """Times of frames from the start in ms, as of :func:`read_frames`.

    Raises:
        OSError: it is no video, or none that OpenCV reads.
    """
    with _opened(path) as (_, rate):
        return {number: _milliseconds(number, rate) for number in numbers}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, float]]:
    """The video, and its frames per second (25 if it does not say)."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # of damaged files
    video = cv2.VideoCapture(str(regular(path)), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise OSError("no video that OpenCV reads")
        width, height = (
            video.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > max_pixels():
            raise OSError(f"frames of {width:.0f}x{height:.0f} have too many pixels")
        rate = video.get(cv2.CAP_PROP_FPS)
        yield video, rate if 0 < rate < 1e4 else 25.0
    finally:
        video.release()


def _is_whole_mp4(path: Path) -> bool:
    """Whether a file is of MP4's kind and none of its boxes is cut off.

    Such a file that was trimmed without encoding it again counts frames that it does not show.
    """
    start, end, is_mp4 = 0, path.stat().st_size, False
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            header = file.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:  # a long box
                size = int.from_bytes(header[8:], "big")
            is_mp4 |= kind == b"moov"
            if size < 8:  # it has the rest of the file; or this is another format
                break
            start += size
    return is_mp4 and start <= end


def _milliseconds(number: int, rate: float) -> int:
    return round(1000 * (number / rate))


def _rgb(frame: np.ndarray, path: Path) -> np.ndarray:
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise OSError(f"{path}: frames of shape {frame.shape}")
    return frame[:, :, ::-1]
