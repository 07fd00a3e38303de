"""Checkpoints that say what they are, in plain types and tensors only.

``model`` (name, options, num_classes), ``preprocessing`` (height, width, mean, std), ``config``,
``state_dict``, ``optimizer``, ``scheduler``, ``rng``, ``epoch``, ``history`` and, at the end of a
run, ``metrics``. ``torch.load(path, weights_only=True)`` reads one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid_dcs.files import written_whole

CHECKPOINT = "checkpoint.pt"
FORMAT = 1


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain types to ``path``; a crash leaves what was there before.

    Raises:
        InputError: it cannot be written.
    """
    with written_whole(path) as file:
        torch.save({"format": FORMAT, **content}, file)
