"""Every kind of file that is read, damaged 200 times: one line or the same content, never else."""

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers.damage import damaged
from scipy.io import savemat

from reid_dcs import InputError, build_model
from reid_dcs.config import read_config
from reid_dcs.data.datasets.cuhk03 import _new_listing, _read_split_file
from reid_dcs.data.datasets.cuhk03_raw import MOST_NUMBERS, check_mat, read_test_sets
from reid_dcs.data.datasets.msmt17 import read_list
from reid_dcs.data.datasets.names import Ignored
from reid_dcs.data.datasets.tables import read_table
from reid_dcs.data.mapped import _open as open_store
from reid_dcs.data.mapped import mapped_images
from reid_dcs.evaluation.feature_cache import read_features, write_features
from reid_dcs.evaluation.features import Features
from reid_dcs.models.architecture import PACKAGED
from reid_dcs.weights import ModelCard, read_card, read_weights, save_safetensors

CASES = 200
STATE = {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.ones(3), "n": torch.tensor(5)}
CARD = ModelCard("mobilenetv2_dcs", {"windows": 1}, metrics={"mAP": 0.5}, command="train")


def read_whole(path: Path) -> tuple:
    content = read_weights(path)
    card = read_card(content, path)
    return card, [(k, v.shape, v.flatten().tolist()) for k, v in content["state_dict"].items()]


def write_checkpoint(path: Path) -> None:
    torch.save({"format": 2, **CARD.to_dict(), "state_dict": STATE}, path)


def write_old(path: Path) -> None:
    torch.save({"state_dict": STATE}, path, _use_new_zipfile_serialization=False)


def write_safetensors(path: Path) -> None:
    save_safetensors(path, {"state_dict": STATE}, CARD)


def write_cache(path: Path) -> None:
    features = Features(torch.ones(4, 3), np.arange(4), np.arange(4))
    write_features(path, features, list("abcd"), "fingerprint")


def write_protocol(path: Path) -> None:
    names = np.array([f"1_{i:03}_{1 + i % 2}_01.png" for i in range(9)], dtype=object)[:, None]
    index = {f"{split}_idx": np.arange(1, 4) for split in ("train", "query", "gallery")}
    savemat(path, {"filelist": names, "labels": np.arange(9), **index}, do_compression=True)


def write_raw(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["set"] = np.ones((2, 3))
        file.create_dataset("testsets", data=np.array([[file["set"].ref]], h5py.ref_dtype))


def write_split(path: Path) -> None:
    path.write_text(json.dumps([{"query": [["x/1_001_1_01.png", 1, 0]]}] * 3))


def copy(source: Path) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(source.read_bytes()) and None


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "checkpoint": (write_checkpoint, read_whole),
    "old checkpoint": (write_old, read_whole),
    "safetensors": (write_safetensors, read_whole),
    "features": (write_cache, lambda path: read_features(path, "fingerprint")),
    "protocol": (write_protocol, lambda path: _new_listing(path.parent, path, {})),
    "raw": (write_raw, read_test_sets),
    "split": (write_split, _read_split_file),
    "table": (
        lambda path: path.write_text("path,identity,camera\n" + "a.jpg,1,1\n" * 9) and None,
        lambda path: list(read_table(path, Ignored(list))),
    ),
    "list": (
        lambda path: path.write_text("0000/0000_045_12_0303morning_0006_2.jpg 0\n" * 9) and None,
        lambda path: read_list(path, path.parent, {"misnamed": [], "missing": []}),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_one_line(kind, tmp_path):
    write, read = KINDS[kind]
    path, rng = tmp_path / "file", random.Random(0)
    write(path)
    whole = path.read_bytes()
    read(path)
    for _ in range(CASES):
        path.write_bytes(damaged(whole, rng))
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["architecture", "configuration"])
def test_damaged_text_is_one_line(kind, tmp_path):
    rng = random.Random(0)
    source = PACKAGED / ("synthetic_11m.json" if kind == "architecture" else "synthetic_11m.yaml")
    path = tmp_path / source.name
    for case in range(CASES):
        path.write_bytes(damaged(source.read_bytes(), rng))
        try:
            if kind == "configuration":
                read_config(path)
            elif case % 10 == 0:  # building takes longer than reading
                with torch.device("meta"):
                    build_model("fbnetv2_dcs", 2, architecture=str(path))
        except InputError:
            pass


def test_any_flipped_bit_of_our_safetensors_is_found_or_changes_nothing(tmp_path):
    path, rng = tmp_path / "x.safetensors", random.Random(0)
    write_safetensors(path)
    whole, content = path.read_bytes(), read_whole(path)
    tensors = len(whole) - 60
    for case in range(CASES):
        place = rng.randrange(tensors, len(whole)) if case % 2 else rng.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = read_whole(path)
        except InputError:
            continue
        # a changed name of the metadata leaves tensors alone, as in the files of others
        assert found == content or (found[0] is None and found[1] == content[1])


def test_files_without_a_checksum_are_read(tmp_path):
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "theirs.safetensors")
    assert list(read_weights(tmp_path / "theirs.safetensors")["state_dict"]) == sorted(STATE)
    metadata = {"reid_dcs": json.dumps(CARD.to_dict())}  # of an earlier version
    save_file(STATE, tmp_path / "ours.safetensors", metadata)
    content = read_weights(tmp_path / "ours.safetensors")
    assert read_card(content, "ours") == CARD and "sha256" not in content


def test_a_damaged_store_is_written_again(tmp_path, tiny_root):
    sources = [str(path) for path in sorted((tiny_root / "synthetic/query").iterdir())[:3]]
    path, rng = tmp_path / "store.npy", random.Random(0)
    expected = np.array(mapped_images(path, sources, 16, 8))
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(damaged(whole, rng))
        assert np.array_equal(mapped_images(path, sources, 16, 8), expected)
    assert open_store(path, "another", expected.shape) is None


def test_packed_variables_of_matlab_are_bounded(tmp_path):
    savemat(tmp_path / "x.mat", {"x": np.zeros(MOST_NUMBERS // 8 + 1)}, do_compression=True)
    assert (tmp_path / "x.mat").stat().st_size < 2**20
    with pytest.raises(ValueError, match="holds more than"):
        check_mat(tmp_path / "x.mat")
    with pytest.raises(InputError, match="holds more than"):
        _new_listing(tmp_path, tmp_path / "x.mat", {})


def test_arrays_of_matlab_7_are_bounded_and_in_the_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(800))
    with h5py.File(tmp_path / "large.mat", "w") as file:
        file["set"] = np.ones((2, 3))
        file.create_dataset("testsets", (1, 2**40), h5py.ref_dtype, chunks=(1, 2**10))
    with h5py.File(tmp_path / "outside.mat", "w") as file:
        outside = [(str(tmp_path / "secret"), 0, 48)]
        file.create_dataset("set", (2, 3), "f8", external=outside)
        file.create_dataset("testsets", data=np.array([[file["set"].ref]], h5py.ref_dtype))
    with h5py.File(tmp_path / "link.mat", "w") as file:
        file["testsets"] = h5py.ExternalLink("large.mat", "testsets")
    for name, reason in (("large", "numbers"), ("outside", "another"), ("link", "another file")):
        with pytest.raises(InputError, match=reason):
            read_test_sets(tmp_path / f"{name}.mat")


def test_features_that_unpack_to_far_more_are_not_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", vectors=np.zeros(2**25, np.float32))
    with warnings.catch_warnings(action="error"):
        assert read_features(tmp_path / "x.npz") is None
