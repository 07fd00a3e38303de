"""Search channels or a backbone, train the result and evaluate it, as one job."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid_dcs.config import Layer, SearchRun, compose, to_layer
from reid_dcs.data.augment import normalize
from reid_dcs.data.manager import TrainLoader
from reid_dcs.errors import InputError
from reid_dcs.files import write_json
from reid_dcs.models import build_model
from reid_dcs.models.architecture import Architecture
from reid_dcs.models.complexity import complexity
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runs.ablation import ablate
from reid_dcs.runs.build import (
    LoadedData,
    announce,
    build_criterion,
    build_engine,
    build_network,
    checkpoint_to_resume,
    continues_in,
    engine_options,
    initial_weights,
    load_data,
    restore,
    seeded,
    to_device,
)
from reid_dcs.runs.output import CHECKPOINTS, TRAINING_FILES, OutputFolder, write_settings
from reid_dcs.runs.train import fit, run_training
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.runtime.hooks import weight_of
from reid_dcs.search import (
    Supergraph,
    build_supergraph,
    derive,
    describe_windows,
    expected_macs,
    pruned,
    recalibrate,
    search_parameters,
    target_penalty,
)
from reid_dcs.search.engine import SearchEngine
from reid_dcs.search.prune import compare
from reid_dcs.search.supergraph import is_space
from reid_dcs.search.transfer import load_search_result, training_weights
from reid_dcs.visual.curves import draw_curves

SEARCH_FILES = (*TRAINING_FILES, "windows.json", "architecture.json")


def search(config: Layer) -> dict[str, Any]:
    """Search with Algorithm 1, train the resulting network and evaluate it, as one job.

    ``output_dir`` receives the files of a training, ``windows.json``, ``architecture.json`` if a
    backbone was searched, and in ``search/`` the checkpoints and curves of the search.
    ``resume=auto`` continues in the phase that was interrupted. ``ablation.rows`` runs a job for
    each row and seed: see :func:`reid_dcs.runs.ablation.ablate`.

    Args:
        config: some or all settings; the others keep their defaults.

    Returns:
        the content of ``metrics.json``; for an ablation, a list over the seeds for each row.

    Raises:
        InputError: invalid setting, path or file.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    config = compose(SearchRun, config)
    if config.ablation.rows:
        return ablate(config, search_or_train)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_search(config, device)


def search_or_train(config: SearchRun) -> dict[str, Any]:
    """Run a row of an ablation: search and train, or only train if there is nothing to search.

    A row that asks for warm weights (``search.retrain``) has both phases in any case, so that the
    others can be compared with it.
    """
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    _, windows, logits = search_parameters(model)
    if windows or logits or is_space(config.model.name) or is_warm(config):
        return search(config)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)


def is_warm(config: SearchRun) -> bool:
    """Whether the training is asked to start from the weights of the search."""
    return config.search.retrain.startswith("warm")


class SearchResult(NamedTuple):
    """State and architecture that the training starts from."""

    state: dict[str, Tensor]
    """State dict of the searched network, or of the network derived from a supergraph."""
    architecture: Architecture | None
    """Derived backbone; None if only channels were searched."""


def run_search(config: SearchRun, device: torch.device) -> dict[str, Any]:
    """Search and train on one decoded data set; return the content of ``metrics.json``."""
    check_searchable(config)
    output = Path(config.output_dir)
    with OutputFolder(output) as whole, OutputFolder(output / "search") as first:
        return _search_and_train(config, device, whole, first)


def _search_and_train(
    config: SearchRun, device: torch.device, whole: OutputFolder, first: OutputFolder
) -> dict[str, Any]:
    output, folder = whole.path, first.path
    resumed = checkpoint_to_resume(config, folder)
    searching = {"windows", "starts", "logits"}
    if resumed and not searching & set(resumed["optimizer"]) and not is_warm(config):
        raise InputError(
            f"resume={config.resume}: not a checkpoint of a search: pass OUTPUT_DIR/search/"
            "checkpoint.pt of a search job, or use resume=auto"
        )
    finished = resumed is not None and _is_finished(config, resumed)
    goes_on = continues_in(config, folder, resumed)
    whole.check(SEARCH_FILES, resumed=goes_on)
    initial = None if resumed else initial_weights(config)
    data = load_data(config, device, initial, resumed)

    # Phase 1: search, in search/
    with seeded(config.seed):
        searched = build_searched(config, data.manager.num_train_pids, device, initial)
    engine = None if finished else build_search_engine(config, searched, data)
    whole.open(SEARCH_FILES, fresh=not finished, resumed=goes_on)
    first.open((*CHECKPOINTS, "curves.png"), fresh=not goes_on, resumed=goes_on)
    write_settings(output, config, device)
    announce(config, data.dataset, searched, device)
    if resumed and finished:
        searched.load_state_dict(resumed["state_dict"])
        history = resumed["history"]
    elif engine is not None:
        if resumed:
            restore(engine, resumed, f"resume={config.resume}")
        print("search", flush=True)
        with without_mixup(train_loader(data)):
            engine.run(folder, config.search.epochs, eval_freq=config.eval.every)
        history = engine.history
    if distributed.is_main():
        draw_curves(history, f"search of {config.model.name}", folder / "curves.png")
    result = search_result(searched, calibration_images(config, data, device))

    # Phase 2: train the result
    training = training_config(config, result)
    auto = replace(training, resume="auto")  # resume=FILE is the search's
    resumed = checkpoint_to_resume(auto, output) if finished else None
    begins_anew = training_weights(searched, config.search.retrain) == "rebuild" and not resumed
    if begins_anew and initial is None:  # the search was resumed
        initial = initial_weights(config)
    with seeded(config.seed):
        model = build_network(
            training, data.manager.num_train_pids, device, initial if begins_anew else None
        )
    load_search_result(model, result.state, config.search.retrain)
    engine = build_engine(training, model, data.manager)
    if resumed:
        restore(engine, resumed, f"resume={config.resume}")
    print("\ntraining", flush=True)
    metrics = fit(training, engine, data.dataset, output)
    if distributed.is_main():
        write_windows(config, model, data, output)
    return metrics


def train_loader(data: LoadedData) -> TrainLoader:
    """The loader of a search's training images."""
    loader = data.manager.train_loader
    assert isinstance(loader, TrainLoader)  # check_searchable refuses phases
    return loader


@contextmanager
def without_mixup(loader: TrainLoader) -> Iterator[None]:
    """Context without mixup, which Section 3.1.1 has in the fine-tuning alone."""
    loader.mixup, alpha = 0.0, loader.mixup
    try:
        yield
    finally:
        loader.mixup = alpha


def _is_finished(config: SearchRun, content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is that of a whole search, after its evaluation."""
    epochs = config.search.epochs
    return content["epoch"] == content.get("evaluated", epochs) == epochs


def check_searchable(config: SearchRun) -> None:
    """Check that the settings of a training are ones that a search can follow.

    Raises:
        InputError: initial weights for a supergraph, or several input sizes.
    """
    if config.train.init and is_space(config.model.name):
        raise InputError("train.init: a backbone search starts from scratch: leave it out")
    if config.data.phases:
        raise InputError(
            "data.phases: a search has one input size: leave it out, or train the result of the "
            "search with train.init=OUTPUT_DIR/checkpoint.pt"
        )


def build_searched(
    config: SearchRun,
    num_classes: int,
    device: torch.device,
    initial: InitialWeights | None = None,
) -> nn.Module:
    """Build the network to search: the supergraph of a search space, or the network itself."""
    if not is_space(config.model.name):
        return build_network(config, num_classes, device, initial)
    if config.model.pretrained:
        raise InputError(
            "model.pretrained: a backbone search starts from scratch; set model.pretrained=false"
        )
    model = build_supergraph(config.model.name, num_classes, **config.model.options)
    return to_device(config, model, device)


def build_search_engine(config: SearchRun, model: nn.Module, data: LoadedData) -> SearchEngine:
    """Build the engine of ``config.search``."""
    if config.search.window_steps == "separate" and config.train.accumulate > 1:
        raise InputError(
            "search.window_steps=separate: starts and lengths step on every batch; set "
            "train.accumulate=1"
        )
    return SearchEngine(
        data.manager,
        model,
        build_criterion(config),
        config.search,
        penalty=_penalty(config, model),
        control=is_warm(config),
        **engine_options(config, model, data.manager),
    )


def search_result(model: nn.Module, images: Iterable[Tensor]) -> SearchResult:
    """The result of a search: the network's state, or that of the derived network.

    Args:
        model: searched network, or supergraph.
        images: batches for the batch norm statistics of the derived network.
    """
    if isinstance(model, Supergraph):
        derived = recalibrate(derive(model), images)
        return SearchResult(derived.state_dict(), model.architecture())
    return SearchResult(model.state_dict(), None)


def calibration_images(
    config: SearchRun, data: LoadedData, device: torch.device
) -> Iterator[Tensor]:
    """Batches of ``search.calibration`` training images, spread evenly, without augmentation."""
    store = train_loader(data).store
    count = min(config.search.calibration, len(store))
    index = torch.linspace(0, len(store) - 1, count).round().long()
    for batch in index.tensor_split(-(-count // config.eval.batch_size)):  # of about equal size
        yield normalize(store.images[batch].to(device))


def _penalty(config: SearchRun, model: nn.Module) -> Callable[[], Tensor] | None:
    target = config.search.target_gmacs
    if not target:
        return None
    if not isinstance(model, Supergraph):
        raise InputError(
            f"search.target_gmacs: the cost of {config.model.name} is fixed; search a backbone "
            "such as fbnetv2_dcs, or set it to 0"
        )
    size = (3, config.data.height, config.data.width)

    def penalty() -> Tensor:
        # at low temperatures the expected cost approaches that of the derived network
        distance = target_penalty(expected_macs(model, size, model.temperature), target)
        return config.search.cost_weight * distance.float()

    return penalty


def training_config(config: SearchRun, result: SearchResult) -> SearchRun:
    """Settings of the training that follows: with the derived architecture, if there is one."""
    if result.architecture is None:
        return config
    output = Path(config.output_dir)
    size = (3, config.data.height, config.data.width)
    architecture = json.loads(
        json.dumps(asdict(result.architecture))
    )  # plain lists, as in the file
    options = dict(config.model.options) | {"architecture": architecture}
    model = build_model(config.model.name, 1, **options)
    cost = complexity(model, size)
    print(
        f"found: {cost.params / 1e6:.2f} M parameters, {cost.total_macs / 1e9:.4f} G multiply-adds "
        f"at {size[1]}x{size[2]}"
    )
    if distributed.is_main():
        result.architecture.write(output / "architecture.json")
    return compose(SearchRun, to_layer(config), {"model": {"options": options}})


def write_windows(config: SearchRun, model: nn.Module, data: LoadedData, output: Path) -> None:
    """Measure the windows of a trained network, write ``windows.json`` and print a summary."""

    def images() -> Iterator[Tensor]:
        return calibration_images(config, data, weight_of(model).device)

    blocks = describe_windows(model, images())
    smaller = pruned(model, images())
    macs, pruned_macs = (sum(b[key] for b in blocks.values()) for key in ("macs", "pruned_macs"))
    content = {
        "images": min(config.search.calibration, len(train_loader(data).store)),
        "blocks": blocks,
        "macs": macs,
        "pruned_macs": pruned_macs,
        **compare(model, smaller, next(images())),
    }
    write_json(output / "windows.json", content)
    print("\nblock                   channels   start  length  selected  saturated")
    for name, block in blocks.items():
        start, length = (
            f"{block[key]['mean']:6.1f}" if key in block else "-" for key in ("start", "length")
        )
        print(
            f"{name:22}  {block['channels']:8}  {start:>6}  {length:>6}  "
            f"{block['selected']['mean']:8.1%}  {block['saturated']['selected']:9.1%}"
        )
    print(
        f"affinity products: {macs / 1e6:.2f} M multiply-adds per image, {pruned_macs / 1e6:.2f} M "
        f"without channels that no window selects; features differ by {content['difference']:.0e}"
    )
