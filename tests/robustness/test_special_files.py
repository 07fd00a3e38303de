"""Pipes, devices and sockets in place of files end in a line, never in waiting."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from helpers.damage import SPECIAL

from reid_dcs.files import LONGEST_TEXT, read_text, regular

READERS = {
    "image": ("x.jpg", "list(read_images([path], 8, 4, 'x'))"),
    "check": ("x.jpg", "print(_open(path).fault); raise InputError(path)"),
    "weights": ("x.pt", "read_weights(path)"),
    "weights by name": ("x.safetensors", "FeatureExtractor(path)"),
    "architecture": ("x.json", "build_model('fbnetv2_dcs', 2, architecture=path)"),
    "configuration": ("x.yaml", "read_config(path)"),
    "features": ("x.npz", "assert read_features(Path(path)) is None; raise InputError(path)"),
    "MATLAB": ("x.mat", "_new_listing(Path('.'), Path(path), {})"),
    "raw MATLAB": ("x.mat", "read_test_sets(Path(path))"),
    "split": ("x.json", "_read_split_file(Path(path))"),
    "list": ("x.txt", "read_list(Path(path), Path('.'), {})"),
    "table": ("x.csv", "list(read_table(Path(path), Ignored(list)))"),
    "images of a figure": ("x.jpg", "find_images([path])"),
}

SCRIPT = """
    import signal, sys
    from pathlib import Path
    from reid_dcs import FeatureExtractor, InputError, build_model
    from reid_dcs.config import read_config
    from reid_dcs.data.check import _open
    from reid_dcs.data.datasets.cuhk03 import _new_listing, _read_split_file
    from reid_dcs.data.datasets.cuhk03_raw import read_test_sets
    from reid_dcs.data.datasets.names import Ignored
    from reid_dcs.data.datasets.tables import read_table
    from reid_dcs.data.datasets.msmt17 import read_list
    from reid_dcs.data.decode import read_images
    from reid_dcs.evaluation.feature_cache import read_features
    from reid_dcs.visual.pages import find_images
    from reid_dcs.weights import read_weights

    readers = {readers}
    for folder in sys.argv[1:]:
        for title, (name, code) in readers.items():
            path = str(Path(folder, name))
            signal.alarm(20)  # ends the process
            try:
                exec(code)
            except InputError as error:
                assert len(str(error).splitlines()) == 1, error
            else:
                raise AssertionError(title)
    print("all")
"""


@pytest.mark.slow
def test_nobody_waits_for_what_is_no_file(tmp_path):
    folders = [tmp_path / kind for kind in SPECIAL]
    for folder in folders:
        folder.mkdir()
        for name in {name for name, _ in READERS.values()}:
            SPECIAL[folder.name](folder / name)
    script = textwrap.dedent(SCRIPT).replace("{readers}", repr(READERS))
    done = subprocess.run(
        [sys.executable, "-c", script, *folders], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "all"


def test_symbolic_links_to_files_are_files(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert regular(tmp_path / "link").read_text() == read_text(tmp_path / "link") == "text"
    (tmp_path / "broken").symlink_to(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "broken")
    with pytest.raises(IsADirectoryError):
        regular(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        regular("/dev/null")


def test_a_text_is_not_longer_than_memory(tmp_path):
    with (tmp_path / "long.json").open("wb") as file:
        file.truncate(LONGEST_TEXT + 1)  # sparse
    with pytest.raises(OSError, match="longer than"):
        read_text(tmp_path / "long.json")


def test_features_and_weights_through_a_link_are_read(tmp_path):
    from reid_dcs.evaluation.feature_cache import read_features, write_features
    from reid_dcs.evaluation.features import Features
    from reid_dcs.weights import read_weights

    features = Features(torch.ones(2, 3), np.array([1, 2]), np.array([0, 1]))
    write_features(tmp_path / "a.npz", features, ["x", "y"], "f")
    (tmp_path / "b.npz").symlink_to("a.npz")
    assert torch.equal(read_features(tmp_path / "b.npz", "f").vectors, features.vectors)
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").symlink_to("a.pt")
    assert [*read_weights(tmp_path / "b.pt")["state_dict"]] == ["w"]
