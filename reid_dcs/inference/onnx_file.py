"""Exported networks: read an ONNX file with its card, and run it as a network."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from reid_dcs.errors import InputError
from reid_dcs.files import regular
from reid_dcs.inference.forms import CARD
from reid_dcs.inference.onnx import OUTPUT
from reid_dcs.runtime.imports import extra
from reid_dcs.weights import ModelCard


class OnnxModel(nn.Module):
    """Runs an exported graph of any form on the CPU: normalized images (B, 3, H, W) -> (B, D).

    A graph that includes the normalization gets the pixels that its input stands for.

    Args:
        path: file written by :func:`reid_dcs.inference.export.export`.

    Attributes:
        card: the card in the file's metadata.

    Raises:
        InputError: the file is missing or damaged, or has no card; or ONNX Runtime is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime = extra("onnxruntime")
        try:
            content = regular(path).read_bytes()
            self.session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
            (given,) = self.session.get_inputs()
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.output = {value.name: value for value in self.session.get_outputs()}[OUTPUT].name
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except Exception as error:  # of ONNX Runtime: its types are not public
            raise InputError(f"{path} is not a network of reid-dcs export: export it") from error
        try:
            if CARD in metadata:
                card = json.loads(metadata[CARD])
            else:
                card = {key: json.loads(value) for key, value in metadata.items()}
        except ValueError as error:
            raise InputError(f"{path}: its metadata are no model card: export it again") from error
        if not isinstance(card, dict) or "model" not in card:
            raise InputError(f"{path} has no model card: export it with reid-dcs export")
        self.card = ModelCard.from_dict(card, path)
        self.input_name, self.input_type = given.name, given.type
        self.normalizes = bool(card.get("normalizes", False))
        mean, std = self.card.preprocessing.mean, self.card.preprocessing.std
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        inputs = images.cpu()
        if self.normalizes:
            inputs = inputs * self.std + self.mean  # in [0, 1]
        if self.input_type == "tensor(uint8)":
            inputs = (255 * inputs).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        elif self.input_type == "tensor(float16)":
            inputs = inputs.half()
        array = inputs.contiguous().numpy()
        (features,) = self.session.run([self.output], {self.input_name: array})
        return torch.from_numpy(features).float()
