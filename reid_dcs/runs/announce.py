"""What a Re-ID run prints before it begins: model, data, warnings about the protocol."""

import sys

from torch import nn

from reid_dcs.config import Run, TrainRun
from reid_dcs.jobs.networks import network_line
from reid_dcs.runs.data import Dataset
from reid_dcs.runtime import distributed
from reid_dcs.runtime.precision import Precision


def announce(config: Run, dataset: Dataset, model: nn.Module, precision: Precision) -> None:
    """Print model and data set of a run; warn about an unusual evaluation protocol."""
    if not distributed.is_main():
        return
    name = config.data.name
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if dataset.unofficial:
        print(f"warning: not the official split of {name}: {dataset.unofficial}", file=sys.stderr)
    if not dataset.cameras_known:
        print(
            f"warning: {name} has no camera labels: gallery images of the query's camera are not "
            "excluded",
            file=sys.stderr,
        )
    print(
        f"{network_line(config.model.name, model, precision)}\n"
        f"{name} at {config.data.height}x{config.data.width}: {len(dataset.train):,} training "
        f"images of {dataset.num_train_pids} identities, {len(dataset.query):,} queries, "
        f"{len(dataset.gallery):,} gallery images",
        flush=True,
    )


def announce_phases(config: TrainRun) -> None:
    """Print the input sizes of a training, if they change."""
    data = config.data
    sizes = [f"{phase.height}x{phase.width} for {phase.epochs} epochs" for phase in data.phases]
    if sizes:
        print(f"training at {', '.join(sizes)}, then {data.height}x{data.width}", flush=True)
