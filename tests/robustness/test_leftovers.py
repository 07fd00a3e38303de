"""What killed processes leave is removed by the next that writes there, and nothing else is."""

import json
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from reid_dcs.data.datasets import synthetic
from reid_dcs.data.datasets.market_layout import FOLDERS
from reid_dcs.data.datasets.synthetic import Synthesis, Synthetic
from reid_dcs.data.generated import generated, read_recipe
from reid_dcs.data.mapped import mapped_images
from reid_dcs.files import exclusive, folder_written_whole, link_whole, written_whole


def killed(processes, action, folder, at):
    """Run an action in another process, which is killed there."""
    process = processes.Process(target=run_and_be_killed, args=(action, folder, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def run_and_be_killed(action, folder, at):
    if at:
        setattr(os, at, lambda *names, **options: os.kill(os.getpid(), signal.SIGKILL))
    action(folder)


def write_and_die(folder):
    with written_whole(folder / "file") as file:
        file.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def fill_and_die(folder):
    with folder_written_whole(folder / "set") as temporary:
        (temporary / "image").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def fill(folder):
    with folder_written_whole(folder / "set") as temporary:
        (temporary / "image").write_text("whole")


def generate(folder, version=1):
    with generated(folder / "set", {"version": version}) as temporary:
        (temporary / "images").mkdir()
        (temporary / "images/0.jpg").write_text(f"of {version}")


def generate_again(folder):
    generate(folder, version=2)


def link(folder):
    (folder / "file").write_text("whole")
    link_whole(folder / "file", folder / "previous")


def lock_and_die(folder):
    with exclusive(folder / ".reid-dcs.lock"):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "action, at",
    [
        (write_and_die, ""), (write_and_die, "fsync"), (fill_and_die, ""), (fill, "fsync"),
        (link, "replace"),
    ],
)  # fmt: skip
def test_the_next_write_removes_leftovers(processes, tmp_path, action, at):
    killed(processes, action, tmp_path, at)
    assert len(list(tmp_path.glob(".reid-dcs-*.tmp"))) == 1
    (tmp_path / "file").unlink(missing_ok=True)
    with written_whole(tmp_path / "another"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


@pytest.mark.parametrize("at", ["fsync", "rename", "unlink", "rmdir"])
def test_a_generated_set_whose_replacement_was_killed_is_generated_again(processes, tmp_path, at):
    generate(tmp_path)
    killed(processes, generate_again, tmp_path, at)
    assert (read_recipe(tmp_path / "set") or {}).get("version") == {"fsync": 1, "rename": 1}.get(
        at, 2
    )
    generate(tmp_path, version=3)
    assert read_recipe(tmp_path / "set") == {"version": 3}
    assert (tmp_path / "set/images/0.jpg").read_text() == "of 3"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_lock_of_a_killed_process_is_free(processes, tmp_path):
    killed(processes, lock_and_die, tmp_path, "")
    with exclusive(tmp_path / ".reid-dcs.lock") as held:
        assert held
        with exclusive(tmp_path / ".reid-dcs.lock") as again:
            assert not again
        assert (tmp_path / ".reid-dcs.lock").exists()
    assert not list(tmp_path.iterdir())


def test_what_is_being_written_and_what_is_the_users_stays(tmp_path):
    names = [".reid-dcs-1.tmp", ".file.tmp", "file.tmp", ".previous.pt.link", ".checkpoint.pt.x1y2"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with written_whole(tmp_path / "outer") as outer, folder_written_whole(tmp_path / "set") as new:
        outer.write(b"outer")
        with written_whole(tmp_path / "inner") as inner:
            inner.write(b"inner")
        (new / "image").write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {*names, "outer", "inner", "set"}
    assert (tmp_path / "outer").read_bytes() == b"outer"
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_a_second_name_is_given_again(tmp_path):
    for _ in range(2):  # a rename from one name of a file to another does nothing
        link(tmp_path)
        link_whole(tmp_path / "file", tmp_path / "previous")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "previous"}


def test_processes_that_need_a_set_at_once_draw_it_once(processes, tmp_path):
    together = [processes.Process(target=draw_slowly, args=(tmp_path, i)) for i in range(3)]
    for process in together:
        process.start()
    for process in together:
        process.join(60)
        assert process.exitcode == 0
    assert len(list(tmp_path.glob("drawn-*"))) == 1
    assert not list(tmp_path.glob(".*"))


def draw_slowly(root, number):
    def draw(folder, synthesis):
        (root / f"drawn-{number}").touch()
        time.sleep(0.3)
        with folder_written_whole(folder) as temporary:
            for name in FOLDERS.values():
                (temporary / name).mkdir()
                Image.new("RGB", (4, 8)).save(temporary / name / "0001_c1s1_000000_00.jpg")
            (temporary / "recipe.json").write_text(json.dumps({"version": synthetic.VERSION}))

    synthetic._draw_dataset = draw
    assert len(Synthetic.list_files(root).train) == 1


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_draw_identity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.draw_dataset(tmp_path / "synthetic", Synthesis(2, 2, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_store_that_is_damaged_anywhere_is_decoded_anew(tmp_path):
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (8, 4, 3), dtype=np.uint8)).save(path)
    store = tmp_path / "store.npy"
    expected = np.array(mapped_images(store, paths, 8, 4))
    whole = store.read_bytes()
    damaged = [whole[:n] for n in (0, 5, 9, 100, len(whole) - 1)] + [whole + b"\n"]
    footer = whole[:-256]
    for text in (b"{}", b"[]", b"[" * 256, b"3", b'{"format": 1}', b"\xff" * 256):
        damaged.append(footer + text.ljust(256))
    content = json.loads(whole[-256:])
    del content["crc32"]
    damaged.append(footer + json.dumps(content).encode().ljust(256))
    for position in random.integers(0, len(whole), 200):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(random.integers(8))
        damaged.append(bytes(flipped))
    for content in damaged:
        store.write_bytes(content)
        assert np.array_equal(mapped_images(store, paths, 8, 4), expected)
        assert store.read_bytes()[:-256] == whole[:-256]
