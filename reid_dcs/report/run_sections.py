"""Report sections of any task: cost and reproducibility."""

import shlex
from typing import Any, Protocol

import torch
from torch import nn

from reid_dcs.config import to_yaml
from reid_dcs.models.complexity import complexity
from reid_dcs.models.speed import images_per_second
from reid_dcs.report.page import Column, Section, Table, Verbatim
from reid_dcs.runtime.device import device_name
from reid_dcs.runtime.environment import environment
from reid_dcs.runtime.precision import Precision

BATCH = 32  # batch size of the speed measurement


class Evaluated(Protocol):
    """A finished evaluation of any task.

    Attributes:
        config: its settings, with ``eval.precision``.
        model: evaluated network.
    """

    @property
    def config(self) -> Any: ...

    @property
    def model(self) -> nn.Module: ...

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        ...

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of an input image."""
        ...


def cost(evaluated: Evaluated) -> Section:
    """Parameters, multiply-adds and measured speed."""
    cost, device = complexity(evaluated.model, evaluated.input_size), evaluated.device
    precision = _precision(evaluated)
    speed = images_per_second(evaluated.model, evaluated.input_size, BATCH, precision.dtype)
    columns = [Column("quantity"), Column("value", ",.4g"), Column("unit"), Column("description")]
    rows = [
        ("parameters", cost.params / 1e6, "M", "backbone and attention, without the classifier"),
        ("convolutions", cost.conv_macs / 1e9, "G", "multiply-adds of the convolutions"),
        (
            "multiply-adds",
            cost.total_macs / 1e9,
            "G",
            "convolutions, linear layers and affinity products",
        ),
        ("paper_flops", cost.paper_flops / 1e9, "G", "FLOPs as counted in the paper's Table 1"),
        ("speed", speed, "images/s", f"batches of {BATCH} decoded images, {precision.name}"),
    ]
    hardware = device_name(device)
    if device.type == "cpu":
        hardware += f", {torch.get_num_threads()} thread(s)"
    height, width = evaluated.input_size[1:]
    caption = f"Cost of the feature of one image at {height} × {width}; speed on {hardware}."
    return Section("Cost", [Table(caption, columns, rows)])


def reproducibility(evaluated: Evaluated) -> Section:
    """Command, versions and the full configuration."""
    facts = environment(_precision(evaluated))
    versions = {"reid_dcs": facts["reid_dcs"], "python": facts["python"], **facts["packages"]}
    return Section(
        "Reproducibility",
        [
            Verbatim("Command:", shlex.join(["python", *facts["command"]])),
            Table("Versions.", [Column("package"), Column("version")], list(versions.items())),
            Verbatim("Configuration:", to_yaml(evaluated.config).strip()),
        ],
    )


def _precision(evaluated: Evaluated) -> Precision:
    return Precision(evaluated.config.eval.precision, evaluated.device)
