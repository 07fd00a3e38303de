"""A search as one job: Algorithm 1, then the training of what it found, then windows.json."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.config import Layer, SearchRun, compose, to_layer
from reid_dcs.data.augment import normalise
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.models import build_model
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.complexity import complexity
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.build import (
    Parts,
    announce,
    assemble,
    build_criterion,
    build_network,
    checkpoint_to_resume,
    engine_options,
    place,
)
from reid_dcs.runs.output import open_output, write_setting
from reid_dcs.runs.train import run_training
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.search import (
    SearchEngine,
    Supergraph,
    build_supergraph,
    derive,
    describe_windows,
    expected_macs,
    pruned,
    search_parameters,
    target_penalty,
)
from reid_dcs.search.prune import compare
from reid_dcs.search.supergraph import is_space
from reid_dcs.search.transfer import load_search_result
from reid_dcs.visual.curves import draw_curves


def search(config: Layer) -> dict[str, Any]:
    """Algorithm 1, the training of what it found, and its evaluation, as one job.

    ``output_dir`` receives what a training leaves, ``windows.json``, ``architecture.json`` where a
    backbone was searched too, and the search's own files in ``search/``. With ``resume=auto`` it
    goes on in the phase that it was in. With ``ablation.rows`` there is a job for each row and
    seed, and a table: see :func:`reid_dcs.runs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        what ``metrics.json`` holds; of an ablation, of each row a list over the seeds.

    Raises:
        InputError: anything the user can mend.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    config = compose(SearchRun, config)
    if config.ablation.rows:
        return ablate(config, _search_or_train)
    with distributed.process_group(choose_device(config.device)) as device:
        found = run_search(config, device)
        training = training_config(config, found)
        print("\ntraining", flush=True)
        begin = partial(load_search_result, found=found.state, retrain=config.search.retrain)
        metrics, parts = run_training(training, device, begin)
        output = Path(config.output_dir)
        write_setting(output, config, device)  # of the job, not of its second half
        if distributed.is_main():
            write_windows(config, parts, output)
    return metrics


def _search_or_train(config: SearchRun) -> dict[str, Any]:
    """A row of an ablation: the networks without windows to search are trained alone."""
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    _, windows, logits = search_parameters(model)
    searched = windows or logits or is_space(config.model.name)
    if searched:
        return search(config)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)[0]


class SearchResult(NamedTuple):
    """What a search hands to the training after it."""

    state: dict[str, Tensor]
    """Of the network: its weights, and what it finds its windows by."""
    architecture: Architecture | None
    """Where a backbone was searched too."""


def run_search(config: SearchRun, device: torch.device) -> SearchResult:
    """Run Algorithm 1 in ``<output_dir>/search``, or take up what lies there.

    A model of a space, such as ``fbnetv2_dcs``, is searched as its supergraph.

    Raises:
        InputError: anything the user can mend.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` goes on.
    """
    folder = Path(config.output_dir, "search")
    resumed = checkpoint_to_resume(config, folder)
    if resumed and resumed["epoch"] == config.search.epochs:
        model = build_searched(config, resumed["model"]["num_classes"], device)
        model.load_state_dict(resumed["state_dict"])
        return _found(model)
    parts = assemble(config, device, build_searched)
    engine = SearchEngine(
        parts.manager,
        parts.model,
        build_criterion(config),
        config.search,
        penalty=_penalty(config, parts.model),
        **engine_options(config, parts),
    )
    start_epoch = engine.resume(resumed) if resumed else 0
    open_output(folder, fresh=resumed is None)
    write_setting(folder, config, device)
    announce(config, parts.dataset, parts.model, device)
    print("search", flush=True)
    engine.run(folder, config.search.epochs, start_epoch, config.eval.every)
    if distributed.is_main():
        draw_curves(engine.history, f"search of {config.model.name}", folder / "curves.png")
    return _found(parts.model)


def build_searched(config: SearchRun, num_classes: int, device: torch.device) -> nn.Module:
    """The network that Algorithm 1 moves: of a space its supergraph, else the network itself."""
    if not is_space(config.model.name):
        return build_network(config, num_classes, device)
    if config.model.pretrained:
        raise InputError("model.pretrained: a supergraph is searched from scratch")
    model = build_supergraph(config.model.name, num_classes, **config.model.options)
    return place(config, model, device)


def _found(model: nn.Module) -> SearchResult:
    if isinstance(model, Supergraph):
        return SearchResult(derive(model).state_dict(), model.architecture())
    return SearchResult(model.state_dict(), None)


def _penalty(config: SearchRun, model: nn.Module) -> Callable[[], Tensor] | None:
    target = config.search.target_gmacs
    if not target:
        return None
    if not isinstance(model, Supergraph):
        raise InputError(f"search.target_gmacs: {config.model.name} has one cost, and no choice")
    size = (3, config.data.height, config.data.width)

    def penalty() -> Tensor:  # at the search's temperature: at its end, of what will be derived
        distance = target_penalty(expected_macs(model, size, model.temperature), target)
        return config.search.cost_weight * distance.float()

    return penalty


def training_config(config: SearchRun, found: SearchResult) -> SearchRun:
    """What is trained: the same model, or the one of its space that was found."""
    if found.architecture is None:
        return config
    output = Path(config.output_dir)
    size = (3, config.data.height, config.data.width)
    architecture = json.loads(json.dumps(asdict(found.architecture)))  # as its file has it
    options = dict(config.model.options) | {"architecture": architecture}
    model = build_model(config.model.name, 1, **options)
    cost = complexity(model, size)
    print(
        f"found: {cost.params / 1e6:.2f} M parameters, {cost.total_macs / 1e9:.4f} G multiply-adds "
        f"at {size[1]}x{size[2]}"
    )
    if distributed.is_main():
        found.architecture.write(output / "architecture.json")
    return compose(SearchRun, to_layer(config), {"model": {"options": options}})


def write_windows(config: SearchRun, parts: Parts, output: Path) -> None:
    """Write ``windows.json`` on the trained network, and print what it says in short."""

    def images() -> Iterator[Tensor]:
        """Of training, spread evenly, not augmented."""
        store = parts.manager.train_loader.store
        count = min(config.search.calibration, len(store))
        index = torch.linspace(0, len(store) - 1, count).round().long()
        for batch in index.split(config.eval.batch_size):
            device = next(parts.model.parameters()).device
            yield normalise(store.images[batch].to(device))

    blocks = describe_windows(parts.model, images())
    smaller = pruned(parts.model, images())
    macs, fewer = (sum(own[key] for own in blocks.values()) for key in ("macs", "pruned_macs"))
    content = {
        "images": min(config.search.calibration, len(parts.manager.train_loader.store)),
        "blocks": blocks,
        "macs": macs,
        "pruned_macs": fewer,
        **compare(parts.model, smaller, next(images())),
    }
    write_json(output / "windows.json", content)
    print("\nblock                   channels   start  length  selected")
    for name, own in blocks.items():
        start, length, selected = (own[key]["mean"] for key in ("start", "length", "selected"))
        print(f"{name:22}  {own['channels']:8}  {start:6.1f}  {length:6.1f}  {selected:8.1%}")
    print(
        f"affinity products: {macs / 1e6:.2f} M multiply-adds an image, {fewer / 1e6:.2f} M "
        f"without the channels that nothing reads; features differ by {content['difference']:.0e}"
    )
