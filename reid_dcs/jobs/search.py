"""Search channels or a backbone, train the result and evaluate it, as one job of any task."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from reid_dcs.config import compose, to_layer
from reid_dcs.engine import Trainer
from reid_dcs.engine.checkpoint import CHECKPOINT
from reid_dcs.errors import InputError
from reid_dcs.files import link_whole
from reid_dcs.jobs.job import Job
from reid_dcs.jobs.networks import without_pretrained
from reid_dcs.jobs.output import CHECKPOINTS, TRAINING_FILES, OutputFolder, write_settings
from reid_dcs.jobs.resume import checkpoint_to_resume, continues_in, restore, restore_training
from reid_dcs.jobs.train import begin, fit, write_metrics
from reid_dcs.jobs.trainer import is_warm
from reid_dcs.models.complexity import complexity
from reid_dcs.models.initial import InitialWeights
from reid_dcs.runtime import distributed
from reid_dcs.runtime.randomness import seeded
from reid_dcs.search.result import SearchResult, search_result
from reid_dcs.search.supergraph import is_space
from reid_dcs.search.transfer import load_search_result, training_weights
from reid_dcs.visual.curves import draw_curves

SEARCH_FILES = (*TRAINING_FILES, "windows.json", "architecture.json")
PHASE_FILES = (*CHECKPOINTS, "curves.png")  # in search/


def search(job: Job) -> dict[str, Any]:
    """Search with Algorithm 1, train the resulting network and evaluate it.

    ``output_dir`` receives the files of a training, ``windows.json``, ``architecture.json`` if a
    backbone was searched, and in ``search/`` the checkpoints and curves of the search. With
    ``search.epochs=0``, the windows of the network are trained along with its weights instead.

    Returns:
        the content of ``metrics.json``.

    Raises:
        InputError: invalid setting, path or file.
        Interrupted: SIGTERM or Ctrl-C; ``resume=auto`` continues.
    """
    job.check_searchable()
    output = Path(job.config.output_dir)
    with OutputFolder(output) as whole:
        if not job.config.search.epochs:
            trainer = begin(job, whole, SEARCH_FILES)
            return _fit(job, job.config, trainer, output)
        with OutputFolder(output / "search") as folder:
            searched = _run_search(job, whole, folder)
            return _train_result(job, output, *searched)


def _run_search(
    job: Job, whole: OutputFolder, folder: OutputFolder
) -> tuple[nn.Module, InitialWeights | None, bool]:
    """Search from scratch or from a checkpoint, or read the result of a finished search.

    Args:
        whole, folder: of the job, and ``search/`` in it.

    Returns:
        the network with the search's weights, the initial weights if they were read, and whether
        the search had been finished before, so that there may be a checkpoint of the training.
    """
    config = job.config
    resumed = _search_to_resume(config, folder.path)
    finished = resumed if resumed and _is_finished(config, resumed) else None
    goes_on = continues_in(config, folder.path, resumed)
    whole.check(SEARCH_FILES, resumed=goes_on)
    folder.check(PHASE_FILES, resumed=goes_on)
    initial = None if resumed else job.read_initial()
    job.load_data(initial, resumed)
    with seeded(config.seed):
        network = build_searched(job, without_pretrained(config) if resumed else config, initial)
    trainer = None if finished else job.build_search_trainer(network)
    if trainer and resumed:
        restore(trainer, resumed, config.search.epochs, f"resume={config.resume}")
        if training_weights(network, config.search.retrain) == "rebuild":
            initial = job.read_initial()  # of the training, before the rest of the search
    whole.open(SEARCH_FILES, fresh=not finished, resumed=goes_on)
    folder.open(PHASE_FILES, fresh=not goes_on, resumed=goes_on)
    write_settings(whole.path, config, job.precision)
    job.announce(network)
    if finished:
        if not goes_on and distributed.is_main():  # so that resume=auto goes on from here
            link_whole(Path(config.resume), folder.path / CHECKPOINT)
        network.load_state_dict(finished["state_dict"])
        history = finished["history"]
    elif trainer is not None:
        print("search", flush=True)
        with job.searching():
            trainer.run(folder.path, config.search.epochs, eval_freq=config.eval.every)
        history = trainer.history
    if distributed.is_main():
        draw_curves(history, f"search of {config.model.name}", folder.path / "curves.png")
    return network, initial, finished is not None


def _train_result(
    job: Job,
    output: Path,
    searched: nn.Module,
    initial: InitialWeights | None,
    may_continue: bool,
) -> dict[str, Any]:
    """Train the network that was found, from scratch or from the training's checkpoint.

    Args:
        searched: network with the search's weights.
        initial: weights of ``train.init``, if they have been read.
        may_continue: continue from a checkpoint in ``output`` if there is one.
    """
    retrain = job.config.search.retrain
    result = search_result(searched, job.calibration_images())
    config = training_config(job, result)
    # resume=FILE is the search's: the training continues from its last checkpoint
    resumed = checkpoint_to_resume(replace(config, resume="auto"), output) if may_continue else None
    begins_anew = training_weights(searched, retrain) == "rebuild" and not resumed
    if begins_anew and initial is None:  # the search was resumed
        initial = job.read_initial()
    with seeded(config.seed):
        built = config if begins_anew else without_pretrained(config)
        network = job.build_network(built, initial if begins_anew else None)
    load_search_result(network, result.state, retrain)
    trainer = job.build_trainer(config, network)
    if resumed:
        restore_training(trainer, resumed, config.train, output)
    print("\ntraining", flush=True)
    return _fit(job, config, trainer, output)


def _fit(job: Job, config: Any, trainer: Trainer, output: Path) -> dict[str, Any]:
    """Train to the last epoch, evaluate, and write ``windows.json`` and the metrics."""
    metrics = fit(job, config, trainer, output)
    if distributed.is_main():
        job.write_windows(trainer.evaluated_model, output)
    return write_metrics(job, metrics, output)


def build_searched(job: Job, config: Any, initial: InitialWeights | None) -> nn.Module:
    """Build the network to search: the supergraph of a search space, or the network itself."""
    return (
        job.build_supergraph()
        if is_space(config.model.name)
        else job.build_network(config, initial)
    )


def training_config(job: Job, result: SearchResult) -> Any:
    """Settings of the training that follows: with the derived architecture, if there is one."""
    config = job.config
    if result.architecture is None:
        return config
    size = (3, job.preprocessing.height, job.preprocessing.width)
    architecture = json.loads(
        json.dumps(asdict(result.architecture))
    )  # plain lists, as in the file
    options = dict(config.model.options) | {"architecture": architecture}
    derived = compose(type(config), to_layer(config), {"model": {"options": options}})
    cost = complexity(job.build_untrained(derived), size)
    print(
        f"found: {cost.params / 1e6:.2f} M parameters, {cost.total_macs / 1e9:.4f} G multiply-adds "
        f"at {size[1]}x{size[2]}"
    )
    if distributed.is_main():
        result.architecture.write(Path(config.output_dir) / "architecture.json")
    return derived


def _search_to_resume(config: Any, folder: Path) -> dict[str, Any] | None:
    """Read the checkpoint of a search to continue from; None if it starts from scratch.

    Raises:
        InputError: the checkpoint is damaged, or that of a training or another run.
    """
    resumed = checkpoint_to_resume(config, folder)
    searching = {"windows", "starts", "logits"}
    if resumed and not searching & set(resumed["optimizer"]) and not is_warm(config):
        raise InputError(
            f"resume={config.resume}: not a checkpoint of a search: pass OUTPUT_DIR/search/"
            "checkpoint.pt of a search job, or use resume=auto"
        )
    return resumed


def _is_finished(config: Any, content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is that of a whole search, after its evaluation."""
    epochs = config.search.epochs
    return content["epoch"] == content.get("evaluated", epochs) == epochs
