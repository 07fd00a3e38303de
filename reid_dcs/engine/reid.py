"""Training: torchreid's engine with our batches, criterion, evaluation and checkpoints."""

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine

from reid_dcs.engine.checkpoint import CHECKPOINT, save_checkpoint
from reid_dcs.engine.freezing import Freezing
from reid_dcs.engine.progress import Progress
from reid_dcs.engine.state import put_state, state_of
from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankResult, evaluate_features, extract_features
from reid_dcs.runtime import distributed
from reid_dcs.runtime.precision import Precision
from reid_dcs.runtime.signals import Interrupted, Signals

SAVE_SECONDS = 600  # within an epoch, between two checkpoints

Named = dict[str, Tensor]
"""A batch's losses and accuracy, scalars on the device that trains."""


class ReIDEngine(torchreid_engine.Engine):
    """Trains one network, alone or as one of several processes, and loses nothing when stopped.

    Args:
        datamanager: gives the batches: ours or torchreid's own.
        model: follows torchreid's contract, on the device that trains.
        optimizer, scheduler: of torch; both are stepped once every ``accumulate`` batches.
        criterion: ``(logits, features, pids)`` to named losses, the first one minimised.
        metric: of evaluation.
        compiled: what training runs in place of ``model``: itself, compiled.
        precision: of the forward pass; ``auto`` by default.
        accumulate: batches whose mean gradient makes a step.
        clip_norm: greatest norm of the gradient; 0 leaves it.
        ema: decay of an exponential moving average of the weights, which then is what evaluation
            runs; 0 for none.
        frozen_epochs: in the first ones the head alone is trained.
        description: written into every checkpoint: what the model and the run are.
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
        compiled: nn.Module | None = None,
        precision: Precision | None = None,
        accumulate: int = 1,
        clip_norm: float = 0.0,
        ema: float = 0.0,
        frozen_epochs: int = 0,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(datamanager, use_gpu=datamanager.use_gpu)
        self.model = model
        self.optimizers = {"weights": (optimizer, scheduler)}
        self.register_model("model", model, optimizer, scheduler)
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.criterion, self.metric = criterion, metric
        self.compiled = model if compiled is None else compiled
        self.step_model = self.compiled  # with several processes: gradients exchanged besides
        self.precision = precision or Precision("auto", self.device)
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.average = None
        if ema:
            averaging = get_ema_multi_avg_fn(ema)
            self.average = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
        self.freezing = Freezing(model, frozen_epochs)
        self.description = dict(description or {})
        self.signals = Signals()

        self.epoch = self.first_batch = 0  # where training goes on
        self.first_sums: dict[str, float] = {}
        self.history: list[dict[str, float]] = []  # one entry an epoch
        self.best: dict[str, float] = {}  # the epoch and figures of the best evaluation
        self.saved = "which nothing was saved of yet"

    @property
    def turn(self) -> Sequence[str]:
        """Which optimizers step on this batch."""
        return ("weights",)

    @property
    def evaluated_model(self) -> nn.Module:
        """The network, or its average where there is one."""
        return self.model if self.average is None else self.average.module

    def run(
        self, save_dir: str | Path, max_epoch: int, start_epoch: int = 0, eval_freq: int = 0
    ) -> RankResult:
        """Train to ``max_epoch``; evaluate every ``eval_freq`` epochs, and at the end.

        ``save_dir`` receives a checkpoint after every epoch and TensorBoard's events.

        Raises:
            InputError: a loss that is not a number, or a disk that is full.
            Interrupted: SIGTERM or Ctrl-C; what was done is saved.
        """
        self.save_dir, self.max_epoch = Path(save_dir), max_epoch
        try:
            with self.signals, self._events(start_epoch) as events:
                for self.epoch in range(start_epoch, max_epoch):
                    self.history.append(self.train())
                    self.save_model(self.epoch + 1, None, save_dir)
                    self._leave_if_asked()
                    done = self.epoch + 1
                    if eval_freq and done % eval_freq == 0 and done < max_epoch:
                        result = self.evaluate()
                        print(f"  mAP {result.mAP:.1%}  rank-1 {result.cmc[0]:.1%}", flush=True)
                        self.save_model(done, self.history[-1]["rank1"], save_dir)
                    for name, value in self.history[-1].items() if events else ():
                        events.add_scalar(f"train/{name}", value, done)
                return self.evaluate()
        except Interrupted as stop:
            path = Path(save_dir, CHECKPOINT)
            stop.args = (f"interrupted; resume=auto goes on from {path}, {self.saved}",)
            raise
        except BrokenPipeError:  # not the disk: nobody reads what is printed
            raise
        except OSError as error:  # TensorBoard's: checkpoints say it themselves
            raise InputError(f"cannot write to {save_dir}: {error.strerror}") from error

    def train(self) -> dict[str, float]:
        """One epoch, or the rest of one; its mean losses, accuracy and images a second."""
        self.set_model_mode("train")
        if self.freezing.begin_epoch(self.epoch) or self.step_model is self.compiled:
            self.step_model = distributed.parallel(self.compiled)
        loader, first, sums = self.train_loader, self.first_batch, self.first_sums
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(self.epoch, first)
        else:  # torchreid's: an epoch cannot be taken up in its middle
            first, sums = 0, {}
        self.num_batches = len(loader)
        progress = Progress(self.epoch, self.max_epoch, self.num_batches, first, sums)
        reading_interval = 10 if self.device.type == "cuda" else 1  # reading waits for a device
        unread: list[tuple[Named, Mapping[str, Any]]] = []  # batches' losses, and the batches
        saved = time.monotonic()
        self.model.zero_grad(set_to_none=True)
        for self.batch_idx, data in enumerate(progress.watch(loader), first):
            unread.append((self.forward_backward(data), data))
            last = self.batch_idx + 1 == self.num_batches
            if not last and (len(unread) < reading_interval or not self._step_due):
                continue
            progress.read(unread)
            unread.clear()
            if not last and distributed.any_rank(self.signals.received or _is_due(saved)):
                self.first_batch, self.first_sums = self.batch_idx + 1, progress.sums
                self.save_model(self.epoch, None, self.save_dir)
                saved = time.monotonic()
                self._leave_if_asked()
        self.first_batch, self.first_sums = 0, {}
        for model in (self.model, self.evaluated_model):
            distributed.share_statistics(model)
        print(progress.line(), flush=True)
        return progress.summary() | {"lr": self.get_current_lr()}

    def forward_backward(self, data: Mapping[str, Any]) -> Named:
        """A batch's gradients, and a step where one is due."""
        exchange = self._step_due or not hasattr(self.step_model, "no_sync")
        with contextlib.nullcontext() if exchange else self.step_model.no_sync():
            named = self.losses(data)
            total = next(iter(named.values())) / self.accumulate
            self.precision.scaler.scale(total).backward()
        if self._step_due:
            self.step()
        return {name: value.detach() for name, value in named.items()}

    def losses(self, data: Mapping[str, Any]) -> Named:
        """The criterion's losses on a batch, the one to minimise first, and the accuracy."""
        images, pids = (v.to(self.device) for v in self.parse_data_for_train(data))
        with self.precision.autocast():
            logits, features = self.step_model(images)
        logits = logits.float()
        losses = self.criterion(logits, features, pids)
        if "partner" in data:  # mixup
            others = self.criterion(logits, features, data["partner"].to(self.device))
            blended = (
                torch.lerp(b, a, data["weight"]) for a, b in zip(losses, others, strict=True)
            )
            losses = type(losses)(*blended)
        return losses._asdict() | {"accuracy": (logits.argmax(1) == pids).float().mean()}

    def step(self) -> None:
        """Step the optimizers whose turn it is, by gradients unscaled and clipped, and forget them.

        Gradients of what the others move are dropped.
        """
        scaler = self.precision.scaler
        for name in self.turn:
            optimizer, scheduler = self.optimizers[name]
            if self.clip_norm:
                scaler.unscale_(optimizer)
                clip_grad_norm_(_parameters(optimizer), self.clip_norm)
            scaler.step(optimizer)
            scheduler.step()
        scaler.update()
        self.model.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def evaluate(self) -> RankResult:
        """Evaluate, note it in the history, and whether it is the best so far."""
        self.signals.waiting = False  # nothing to finish: all is saved
        result = next(iter(self.test().values()))
        self.signals.waiting = True
        figures = {"mAP": result.mAP, "rank1": float(result.cmc[0])}
        if self.history:
            self.history[-1] |= figures
        if result.mAP > self.best.get("mAP", -1.0):
            self.best = {"epoch": self.epoch + 1} | figures
        return result

    def test(self) -> dict[str, RankResult]:
        """Evaluate on every target: single query, no re-ranking."""
        results = {}
        for name, loaders in self.test_loader.items():
            query = extract_features(self.evaluated_model, loaders["query"], "query")
            gallery = extract_features(self.evaluated_model, loaders["gallery"], "gallery")
            results[name] = evaluate_features(
                query.vectors,
                gallery.vectors,
                query.pids,
                gallery.pids,
                query.camids,
                gallery.camids,
                self.metric,
                together=True,
            )
        return results

    def save_model(
        self, epoch: int, rank1: float | None, save_dir: str | Path, is_best: bool | None = None
    ) -> None:
        """Write a checkpoint: everything that continues the run, and what the model is.

        Args:
            epoch: finished ones.
            rank1: torchreid's; where given, these weights were just evaluated.
            is_best: whether to keep it as the best; by default, whether its evaluation was.
        """
        state = state_of(self, epoch)
        self.saved = f"epoch {epoch + 1}, batch {self.first_batch + 1}"
        if not distributed.is_main():
            return
        if is_best is None:
            is_best = rank1 is not None and self.best.get("epoch") == epoch
        save_checkpoint(Path(save_dir), self.description | state, is_best)

    def resume(self, content: Mapping[str, Any]) -> int:
        """Take up a checkpoint of this run; returns the epoch to start from."""
        put_state(self, content)
        self.epoch = max(0, content["epoch"] - 1)
        return content["epoch"]

    @property
    def _step_due(self) -> bool:
        done = self.batch_idx + 1
        return done % self.accumulate == 0 or done == self.num_batches

    def _leave_if_asked(self) -> None:
        if distributed.any_rank(self.signals.received):
            raise Interrupted(self.signals.received or signal.SIGTERM)

    def _events(self, start_epoch: int) -> contextlib.AbstractContextManager:
        if not distributed.is_main():
            return contextlib.nullcontext()
        return SummaryWriter(self.save_dir, purge_step=start_epoch + 1)


def _is_due(saved: float) -> bool:
    return time.monotonic() - saved > SAVE_SECONDS


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
