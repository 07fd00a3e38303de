"""Videos that break off, in several formats, and whole ones whose counts of frames are wrong."""

import struct

import cv2
import numpy as np
import pytest

from reid_dcs.gallery import Gallery
from reid_dcs.gallery.detect import Detection, PeopleReader
from reid_dcs.gallery.video import read_frames

FRAMES = 60  # at 10 a second


def written(path, code):
    """The bytes of a video of noise."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (64, 64))
    random = np.random.default_rng(0)
    for _ in range(FRAMES):
        writer.write(random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    writer.release()
    return path.read_bytes()


def table_first(content):
    """An MP4 with its table of frames before them, as for the web, so that a part can be read."""
    boxes, start = {}, 0
    while start < len(content):
        (size,) = struct.unpack_from(">I", content, start)
        boxes[content[start + 4 : start + 8]] = content[start : start + size]
        start += size
    table = bytearray(boxes.pop(b"moov"))
    at = table.index(b"stco") + 8
    (number,) = struct.unpack_from(">I", table, at)
    for place in range(at + 4, at + 4 + 4 * number, 4):
        struct.pack_into(">I", table, place, struct.unpack_from(">I", table, place)[0] + len(table))
    return boxes.pop(b"ftyp") + table + b"".join(boxes.values())


def trimmed(content):
    """An MP4 of which players show the first half."""
    changed = bytearray(content)
    at = changed.index(b"elst") + 12
    struct.pack_into(">I", changed, at, struct.unpack_from(">I", changed, at)[0] // 2)
    return bytes(changed)


def with_gaps(content):
    """An AVI in which three of four frames are empty: the one before is shown on."""
    start, end = content.index(b"movi"), content.index(b"idx1")
    chunks, at = [], start + 4
    while at < end:
        (size,) = struct.unpack_from("<I", content, at + 4)
        after = at + 8 + size + size % 2
        empty = len(chunks) % 4
        chunks.append(content[at : at + 4] + bytes(4) if empty else content[at:after])
        at = after
    frames = b"movi" + b"".join(chunks)
    changed = content[: start - 4] + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", len(changed) - 8) + changed[8:]


def half(content):
    return content[: len(content) // 2]


def same(content):
    return content


BROKEN = {
    "avi": ("avi", "MJPG", half),
    "mkv": ("mkv", "mp4v", half),
    "mp4": ("mp4", "mp4v", lambda content: half(table_first(content))),
    "avi with gaps": ("avi", "MJPG", lambda content: half(with_gaps(content))),
}
WHOLE = {
    "avi": ("avi", "MJPG", same),
    "mkv": ("mkv", "mp4v", same),
    "mp4": ("mp4", "mp4v", same),
    "mp4, table first": ("mp4", "mp4v", table_first),
    "mp4, trimmed": ("mp4", "mp4v", trimmed),
    "avi with gaps": ("avi", "MJPG", with_gaps),
    "avi, nearly": ("avi", "MJPG", lambda content: content[: len(content) * 19 // 20]),
}


def frames(tmp_path, suffix, code, change):
    path = tmp_path / f"video.{suffix}"
    path.write_bytes(change(written(path, code)))
    return read_frames(path, 0.01)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_video_that_breaks_off_is_an_error_after_its_frames(tmp_path, kind):
    found = []
    with pytest.raises(OSError, match="breaks off after [1-3] of 6 seconds"):
        found.extend(frames(tmp_path, *BROKEN[kind]))
    assert found


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_video_is_read_to_its_end(tmp_path, kind):
    assert len(list(frames(tmp_path, *WHOLE[kind]))) >= FRAMES // 4


def test_half_a_video_is_named_and_its_people_are_kept(weights, tmp_path):
    path = tmp_path / "video.avi"
    content = written(path, "MJPG")
    path.write_bytes(half(content))
    people = PeopleReader(lambda image: [Detection((0, 0, 64, 64), 0.9)])
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        for _ in range(2):  # the next run reads it again
            counts = gallery.add(path, weights, reader=people)
            assert counts.added == len(gallery) == 3 and counts.unchanged == 0
            (failed,) = counts.failed
            assert "video.avi (breaks off after 3 of 6 seconds)" in failed
        path.write_bytes(content)
        counts = gallery.add(path, reader=people)
        assert not counts.failed and len(gallery) == 6
        assert gallery.add(path, reader=people)[:2] == (0, 1)
