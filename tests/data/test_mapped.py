"""The mapped store: the decoded pixels, and never those of another source or half a file."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from reid_dcs import InputError
from reid_dcs.data import mapped
from reid_dcs.data.store import ImageStore


def write_image(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def items(tmp_path):
    (tmp_path / "images").mkdir()
    items = []
    for i in range(6):
        path = tmp_path / f"images/{i}.png"
        write_image(path, i)
        items.append((str(path), i // 2, i % 3, 0))
    return items


@pytest.fixture
def file(tmp_path):
    return tmp_path / "stores/train-48x24.npy"


@pytest.fixture
def writes(monkeypatch):
    """The stores that were written, one entry a time."""
    written, original = [], mapped._write
    monkeypatch.setattr(mapped, "_write", lambda *a: (written.append(a[0]), original(*a)))
    return written


def assert_right(store, items):
    assert torch.equal(store.images, ImageStore.decode(items, 48, 24, "reference").images)


def test_a_mapped_store_is_the_decoded_one(items, file, writes):
    for _ in range(3):
        store = ImageStore.mapped(items, 48, 24, file)
        assert_right(store, items)
    assert len(writes) == 1 and store.pids.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(np.load(file, mmap_mode="r"), store.images)  # any NumPy reads it
    assert list(file.parent.iterdir()) == [file]


def test_writing_into_the_tensor_leaves_the_file(items, file):
    ImageStore.mapped(items, 48, 24, file).images.zero_()
    assert_right(ImageStore.mapped(items, 48, 24, file), items)


def changed(items, how):
    path = items[2][0]
    if how == "other pixels":
        write_image(path, 77)
    elif how == "another image":
        write_image(path + ".png", 8)
        items = [*items[:2], (path + ".png", 1, 1, 0), *items[3:]]
    elif how == "another order":
        items = items[::-1]
    elif how == "one image less":
        items = items[:-1]
    return items


def test_another_interpolation_is_decoded_anew(items, file, writes):
    bilinear = ImageStore.mapped(items, 48, 24, file)
    bicubic = ImageStore.mapped(items, 48, 24, file, "bicubic")
    assert torch.equal(bicubic.images, ImageStore.decode(items, 48, 24, "x", "bicubic").images)
    assert not torch.equal(bicubic.images, bilinear.images) and len(writes) == 2


@pytest.mark.parametrize(
    "how", ["other pixels", "another image", "another order", "one image less"]
)
def test_a_changed_source_is_decoded_anew(items, file, writes, how):
    ImageStore.mapped(items, 48, 24, file)
    items = changed(items, how)
    assert_right(ImageStore.mapped(items, 48, 24, file), items)
    assert len(writes) == 2


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path, file, writes):
    path = tmp_path / "one.bmp"  # uncompressed: any pixels have one size
    items = [(str(path), 0, 0, 0)]
    Image.new("RGB", (20, 40), (10, 20, 30)).save(path)
    ImageStore.mapped(items, 48, 24, file)
    before = path.stat()
    time.sleep(0.02)
    Image.new("RGB", (20, 40), (99, 20, 30)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert ImageStore.mapped(items, 48, 24, file).images[0, 0, 0].tolist() == [99, 20, 30]
    assert len(writes) == 2


@pytest.mark.parametrize("damage", ["cut", "no footer", "zeroed tail", "one bit", "empty", "noise"])
def test_a_torn_store_is_not_read(items, file, writes, damage):
    ImageStore.mapped(items, 48, 24, file)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "no footer":
        content = content[:-256]
    elif damage == "zeroed tail":
        content[-4096:] = bytes(4096)
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content = b""
    else:
        content = os.urandom(len(content))
    file.write_bytes(content)
    assert_right(ImageStore.mapped(items, 48, 24, file), items)
    assert len(writes) == 2


def test_unreadable_images_leave_no_store(items, file):
    with open(items[4][0], "rb+") as image:
        image.truncate(100)
    with pytest.raises(InputError, match="1 unreadable or truncated .*4.png"):
        ImageStore.mapped(items, 48, 24, file)
    assert list(file.parent.iterdir()) == []
    os.unlink(items[4][0])
    with pytest.raises(InputError, match="1 unreadable .*4.png"):
        ImageStore.mapped(items, 48, 24, file)


def test_a_place_that_cannot_be_written_is_a_line(items, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write to .*taken"):
        ImageStore.mapped(items, 48, 24, tmp_path / "taken/train.npy")


SLOW_WRITER = """
import signal, sys, time
from pathlib import Path
from reid_dcs.data import decode
from reid_dcs.data.store import ImageStore
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's shell ignores it
original = decode.read_image
def slow(path, *size):
    if path.endswith("4.png"):
        print("half", flush=True)
        time.sleep(3)
    return original(path, *size)
decode.read_image, decode._WINDOW = slow, 1
items = [(path, 0, 0, 0) for path in sys.argv[2:]]
ImageStore.mapped(items, 48, 24, Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_writer_leaves_nothing_that_is_trusted(items, file, writes, how):
    command = [sys.executable, "-c", SLOW_WRITER, str(file), *(item[0] for item in items)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert writer.stdout.readline() == b"half\n"
    assert [path.name.startswith(".") for path in file.parent.iterdir()] == [True]
    writer.send_signal(how)
    writer.wait()
    left = list(file.parent.iterdir())
    assert file not in left and (how == signal.SIGKILL or not left)
    assert_right(ImageStore.mapped(items, 48, 24, file), items)
    assert len(writes) == 1
