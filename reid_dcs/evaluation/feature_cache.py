"""Feature cache: one NumPy archive per split, valid for one fingerprint.

The archive holds ``vectors`` (N, D) float32, ``pids``, ``camids`` and image ``names``, (N,) each,
and the ``fingerprint`` of the weights, images and settings that produced them. It is written
atomically and read without pickle. A damaged archive, or one with another fingerprint, is a cache
miss.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reid_dcs.evaluation.features import Features
from reid_dcs.files import check_zip, regular, written_whole

FORMAT = 1


def features_file(folder: Path, dataset: str, split: str) -> Path:
    """Path of a split's cached features in ``folder``."""
    return folder / f"features-{dataset}-{split}.npz"


def features_fingerprint(weights: Path, **settings: object) -> str:
    """SHA-256 of everything that determines the features.

    Args:
        weights: weights file; its content is hashed.
        settings: all else that matters, in JSON types: fingerprint of the images, flip, ...

    Raises:
        OSError: the weights cannot be read.
    """
    with open(weights, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    description = json.dumps({"format": FORMAT, "weights": digest, **settings}, sort_keys=True)
    return hashlib.sha256(description.encode()).hexdigest()


def write_features(path: Path, features: Features, names: Sequence[str], fingerprint: str) -> None:
    """Write features to the cache.

    Args:
        path: archive to write.
        features: features of N images.
        names: N file names.
        fingerprint: result of :func:`features_fingerprint`.

    Raises:
        InputError: the file cannot be written.
    """
    with written_whole(path) as file:
        np.savez(
            file,
            vectors=features.vectors.numpy(),
            pids=features.pids,
            camids=features.camids,
            names=np.array(names),
            fingerprint=np.array(fingerprint),
        )


def read_features(path: Path, fingerprint: str | None = None) -> Features | None:
    """Read cached features.

    Args:
        path: archive to read.
        fingerprint: required fingerprint; None accepts any.

    Returns:
        the features; None if the file is missing, damaged or has another fingerprint.
    """
    try:
        with regular(path).open("rb") as file:
            check_zip(file)
            archive = np.load(file, allow_pickle=False)
            if fingerprint not in (None, str(archive["fingerprint"])):
                return None
            vectors = torch.from_numpy(archive["vectors"])
            pids, camids, names = (archive[name] for name in ("pids", "camids", "names"))
        valid = vectors.ndim == 2 and vectors.dtype == torch.float32
        if not valid or not len(vectors) == len(pids) == len(camids) == len(names):
            return None
    except Exception:  # np.load raises many types of errors on damaged archives
        return None
    return Features(vectors, pids, camids)
