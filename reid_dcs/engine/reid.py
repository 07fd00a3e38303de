"""Re-ID training: torchreid's engine on top of the trainer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine

from reid_dcs.engine.freezing import Freezing
from reid_dcs.engine.task import Losses, Metrics
from reid_dcs.engine.trainer import Trainer
from reid_dcs.evaluation import RankResult, extract_features, rank_features
from reid_dcs.runtime.device import send

HEAD = ("neck", "classifier")  # modules of the head; torchreid's networks have no neck


class ReIDEngine(Trainer, torchreid_engine.Engine):
    """Trains and evaluates a Re-ID network; the engine is the trainer's task itself.

    Subclasses may override torchreid's extension points ``forward_backward``, ``train``, ``test``,
    ``run``, ``save_model`` and ``parse_data_for_train``, and the trainer's ``losses`` and ``step``.

    Args:
        datamanager: a data manager of this package or of torchreid.
        model: network with torchreid's contract, on the training device.
        optimizer, scheduler: torch optimizer and scheduler, stepped together.
        criterion: maps ``(logits, features, pids)`` to a named tuple of losses; the first is
            minimized.
        metric: distance of the evaluation, ``"cosine"`` or ``"euclidean"``.
        compiled: compiled or captured ``model`` for the training steps.
        frozen_epochs: number of first epochs that train only the head.
        options: keyword arguments of :class:`Trainer`.
    """

    def __init__(
        self,
        datamanager: torchreid_data.datamanager.DataManager,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        scheduler: LRScheduler | None = None,
        criterion: nn.Module | None = None,
        *,
        metric: str = "cosine",
        compiled: Callable[[Tensor], Any] | None = None,
        frozen_epochs: int = 0,
        **options: Any,
    ) -> None:
        torchreid_engine.Engine.__init__(self, datamanager, use_gpu=datamanager.use_gpu)
        Trainer.__init__(
            self,
            task=self,
            model=model,
            train_loader=datamanager.train_loader,
            optimizers={"weights": (optimizer, scheduler)} if optimizer and scheduler else {},
            best_metric="mAP",
            freezing=Freezing(model, frozen_epochs, HEAD),
            **options,
        )
        self.register_model("model", model, optimizer, scheduler)
        self.criterion, self.metric = criterion, metric
        self.compiled = model if compiled is None else compiled
        self.result: RankResult | None = None  # of the last evaluation, on the first test set
        self.results: dict[str, RankResult] = {}  # on each

    def run(  # type: ignore[override]  # the whole result, of which Trainer.run has the metrics
        self,
        save_dir: str | Path,
        max_epoch: int,
        start_epoch: int | None = None,
        eval_freq: int = 0,
    ) -> RankResult:
        """Train and evaluate as :meth:`Trainer.run`; return the result of the last evaluation."""
        super().run(save_dir, max_epoch, start_epoch, eval_freq)
        assert self.result is not None  # it ends with an evaluation
        return self.result

    def train(self) -> dict[str, float]:
        """Train one epoch; a criterion with ``begin_epoch()`` is told of the epoch first."""
        begin_epoch: Any = getattr(self.criterion, "begin_epoch", None)
        if self.so_far.batches == 0 and begin_epoch is not None:
            begin_epoch()
        return super().train()

    def state_dict(self) -> dict[str, Any]:
        """State of the run, with that of the criterion if it has one."""
        state = super().state_dict()
        if isinstance(self.criterion, nn.Module) and (held := self.criterion.state_dict()):
            state["criterion"] = dict(held)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        if isinstance(self.criterion, nn.Module) and "criterion" in state:
            self.criterion.load_state_dict(state["criterion"])

    def losses(self, batch: Mapping[str, Any]) -> Losses:
        """Losses of the criterion, and accuracy, on a batch.

        With mixup, the batch has ``partner`` identities and a ``weight``, and the losses are the
        weighted mean for both identities.
        """
        assert self.criterion is not None  # only an evaluation has none
        images, pids = (send(v, self.device) for v in self.parse_data_for_train(batch))
        with self.precision.autocast():
            logits, features = self.compiled(images)
        logits = logits.float()
        losses = self.criterion(logits, features, pids)._asdict()
        if "partner" in batch:
            partners = send(batch["partner"], self.device)
            others = self.criterion(logits, features, partners)._asdict()
            losses = {
                name: torch.lerp(others[name], loss, batch["weight"])
                for name, loss in losses.items()
            }
        return losses | {"accuracy": (logits.argmax(1) == pids).float().mean()}

    def evaluate(self, model: nn.Module) -> Metrics:
        """Metrics of :meth:`test`.

        Of several test sets, the mean, and those of each as ``<name>/<metric>``.
        """
        self.results = self.test()
        self.result = next(iter(self.results.values()))
        if len(self.results) == 1:
            return self.result.metrics()
        return mean_metrics(self.results) | {
            f"{name}/{metric}": value
            for name, result in self.results.items()
            for metric, value in result.metrics().items()
        }

    def test(self) -> dict[str, RankResult]:
        """Evaluate ``evaluated_model`` on every test set: single query, no re-ranking."""
        results = {}
        for name, loaders in self.test_loader.items():
            query = extract_features(self.evaluated_model, loaders["query"], "query")
            gallery = extract_features(self.evaluated_model, loaders["gallery"], "gallery")
            ranked = rank_features(query, gallery, self.metric, device=self.device)
            results[name] = ranked.ranking.summary()
        return results

    def save(self, evaluated: bool = False) -> None:
        """Write a checkpoint, through torchreid's extension point."""
        rank1 = float(self.result.cmc[0]) if evaluated and self.result else None
        assert self.save_dir is not None
        self.save_model(self.finished, rank1, self.save_dir)

    def save_model(
        self, epoch: int, rank1: float | None, save_dir: str | Path, is_best: bool | None = None
    ) -> None:
        """Write a checkpoint: the state of the run and the description of the model.

        Args:
            epoch: number of finished epochs.
            rank1: rank-1 accuracy of these weights, if they were evaluated.
            save_dir: output folder.
            is_best: also write ``best.pt``; by default if the evaluation is the best so far.
        """
        self.finished, self.save_dir = epoch, Path(save_dir)
        if is_best is None:
            is_best = rank1 is not None and self.best.get("epoch") == epoch
        self.write_checkpoint(is_best)


def mean_metrics(results: Mapping[str, RankResult]) -> Metrics:
    """Mean of each metric over the test sets."""
    metrics = [result.metrics() for result in results.values()]
    return {name: sum(each[name] for each in metrics) / len(metrics) for name in metrics[0]}
