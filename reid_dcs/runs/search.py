"""Search channels or a backbone, train the result and evaluate it, as one job."""

from typing import Any

import torch

from reid_dcs import jobs
from reid_dcs.config import Layer, SearchRun, compose
from reid_dcs.jobs.trainer import build_policy, is_warm
from reid_dcs.models import build_model
from reid_dcs.runs.ablation import ablate, check_no_seeds
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runs.train import check_training, run_training
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import choose_device
from reid_dcs.search import build_supergraph, search_parameters
from reid_dcs.search.supergraph import is_space

ANY_BATCHES = 1000
"""Of an epoch, while the data set is not known."""


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
        return ablate(config, search_or_train, check_search)
    check_no_seeds(config.ablation)
    with distributed.process_group(choose_device(config.device)) as device:
        return jobs.search(ReIDJob(config, device))


def search_or_train(config: SearchRun) -> dict[str, Any]:
    """Run a row of an ablation: search and train, or only train if there is nothing to search.

    A row that asks for warm weights (``search.retrain``) has both phases in any case, so that the
    others can be compared with it.
    """
    if _is_searched(config):
        return search(config)
    with distributed.process_group(choose_device(config.device)) as device:
        return run_training(config, device)


def check_search(config: SearchRun) -> None:
    """Check the settings of a row of an ablation as far as they can be without its data.

    Raises:
        InputError: a setting that does not fit the network, the device or another setting.
    """
    searched = _is_searched(config)
    if searched:
        ReIDJob(config, choose_device(config.device)).check_searchable()
    check_training(config)
    if not searched or not config.search.epochs:
        return
    name, options = config.model.name, config.model.options
    size = (3, config.data.height, config.data.width)
    network = (build_supergraph if is_space(name) else build_model)(name, 1, **options)
    build_policy(config, network, ANY_BATCHES, size)


def _is_searched(config: SearchRun) -> bool:
    """Whether a row has a search, if only one without windows beside those of other rows."""
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=1, **config.model.options)
    _, windows, logits = search_parameters(model)
    return bool(windows or logits or is_space(config.model.name) or is_warm(config))
