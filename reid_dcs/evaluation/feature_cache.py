"""Features kept in a file, with the names of their images and a fingerprint of their making.

A NumPy archive without pickled objects: ``vectors`` (N, D) float32, ``pids``, ``camids``,
``names`` (N,), and ``fingerprint``. It is written whole; a file that is damaged, or whose
fingerprint is another's, is no features, and they are extracted anew.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from reid_dcs.evaluation.features import Features
from reid_dcs.files import written_whole

FORMAT = 1


def features_file(folder: Path, dataset: str, split: str) -> Path:
    """Where a split's features are kept."""
    return folder / f"features-{dataset}-{split}.npz"


def features_fingerprint(weights: Path, **how: object) -> str:
    """Of everything that decides features: the content of the weights' file, and how they are made.

    Args:
        how: what else decides, in JSON's types: the images' fingerprint, flip, precision, ...

    Raises:
        OSError: the weights cannot be read.
    """
    with open(weights, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made = json.dumps({"format": FORMAT, "weights": digest, **how}, sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()


def keep_features(path: Path, features: Features, names: Sequence[str], fingerprint: str) -> None:
    """Write features to ``path``.

    Raises:
        InputError: it cannot be written.
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
    """The features in ``path``; None if it is not there, damaged, or of another fingerprint."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if fingerprint not in (None, str(archive["fingerprint"])):
                return None
            found: Mapping[str, np.ndarray] = {name: archive[name] for name in archive.files}
        vectors = torch.from_numpy(found["vectors"])
        if not len(vectors) == len(found["pids"]) == len(found["camids"]) == len(found["names"]):
            return None
        return Features(vectors, found["pids"], found["camids"])
    except Exception:  # a damaged archive fails in as many ways as it has parts
        return None
