"""Weight files: reading them safely, matching them to a network, writing them to share."""

from reid_dcs.weights.files import load_exactly, read_weights
from reid_dcs.weights.safetensors import write_packed

__all__ = ["load_exactly", "read_weights", "write_packed"]
