"""Train a network on any task: epochs, steps, evaluations, checkpoints, interruptions."""

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from reid_dcs.engine.average import MovingAverage
from reid_dcs.engine.checkpoint import CHECKPOINT, save_checkpoint
from reid_dcs.engine.events import Log, event_log
from reid_dcs.engine.freezing import Freezing
from reid_dcs.engine.policy import Policy
from reid_dcs.engine.progress import Done, Progress, format_values
from reid_dcs.engine.schedule import Optimization
from reid_dcs.engine.state import RunState
from reid_dcs.engine.task import Losses, Metrics, Task, TaskLosses
from reid_dcs.runtime import distributed
from reid_dcs.runtime.device import is_accelerator
from reid_dcs.runtime.precision import Precision
from reid_dcs.runtime.signals import Interrupted, Signals

SAVE_SECONDS = 600  # interval of checkpoints within an epoch
READ_EVERY = 10  # batches whose losses are read back at once from an accelerator


class Trainer(RunState):
    """Trains a network, in one or several processes, and resumes bit for bit.

    Args:
        task: computes losses and metrics.
        model: network to train, on the training device.
        train_loader: batches of an epoch, with a length. A loader with
            ``set_epoch(epoch, first_batch)`` resumes within an epoch; of any other, as many batches
            as an interrupted epoch has had are read and left out.
        optimizers: optimizer and learning rate scheduler by name, stepped together.
        policy: chooses the optimizers that step on a batch; by default all of them.
        best_metric: metric (higher is better) that chooses ``best.pt``; by default the first.
        precision: precision of the forward pass; ``auto`` by default.
        accumulate: number of batches per optimizer step.
        clip_norm: maximum gradient norm of each optimizer's parameters; 0 disables clipping.
        ema: decay of an exponential moving average of the weights, which is then evaluated; 0
            disables it.
        freezing: parts of the model that are frozen in the first epochs.
        description: plain values that are written into every checkpoint beside the state.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        train_loader: Any,
        optimizers: Mapping[str, Optimization],
        *,
        policy: Policy | None = None,
        best_metric: str | None = None,
        precision: Precision | None = None,
        accumulate: int = 1,
        clip_norm: float = 0.0,
        ema: float = 0.0,
        freezing: Freezing | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        precision = precision or Precision("auto", device)
        super().__init__(model, optimizers, precision, MovingAverage(model, ema) if ema else None)
        self.task, self.train_loader, self.device = task, train_loader, device
        self.policy, self.best_metric = policy or Policy(), best_metric
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.freezing = freezing or Freezing(model)
        self.description = dict(description or {})
        self.signals = Signals()
        self.save_dir: Path | None = None  # set by run(); without it, train() saves nothing
        self.max_epoch = 1  # set by run()
        self.single_process_losses = TaskLosses(model, task.losses)
        self.task_losses: nn.Module = self.single_process_losses

        self.epoch = 0  # current index
        self.batch_idx, self.num_batches = 0, 1  # within the current epoch
        self.last_saved = ""  # position of the last checkpoint written or read, in words

    def run(
        self,
        save_dir: str | Path,
        max_epoch: int,
        start_epoch: int | None = None,
        eval_freq: int = 0,
    ) -> Metrics:
        """Train up to ``max_epoch``, evaluate every ``eval_freq`` epochs and at the end.

        Args:
            save_dir: folder that receives checkpoints and TensorBoard events.
            max_epoch: number of epochs of the whole run.
            start_epoch: index of the first epoch; by default that of the loaded state.
            eval_freq: 0 evaluates only at the end.

        Returns:
            metrics of the last evaluation.

        Raises:
            InputError: a loss is not finite, or the disk is full.
            Interrupted: on SIGTERM or Ctrl-C, after saving.
        """
        self.save_dir = folder = Path(save_dir)
        self.max_epoch = max_epoch
        self.finished = self.finished if start_epoch is None else start_epoch
        metrics = None
        try:
            # an evaluation that the run was stopped before; not within an epoch
            missed = self.history and not self.so_far.batches and self._evaluation_due(eval_freq)
            logged = self.finished - bool(missed)  # epochs whose events are complete
            with self.signals, event_log(folder, logged) as log:
                if missed:
                    metrics = self._evaluate(log)
                while self.finished < max_epoch:
                    self.epoch = self.finished
                    self.history.append(self.train())
                    self.finished = self.epoch + 1
                    due = self._evaluation_due(eval_freq)
                    if not due:
                        log(self.history[-1], self.finished)
                    self.save()
                    self._stop_if_asked()
                    if due:
                        metrics = self._evaluate(log)
                if metrics is None:
                    metrics = self.validate()
            self._stop_if_asked()  # by a signal that waited for the last checkpoint
            return metrics
        except Interrupted as stop:
            saved = f"resume=auto continues from {folder / CHECKPOINT}, {self.last_saved}"
            is_saved = self.last_saved and (folder / CHECKPOINT).exists()
            stop.args = (f"interrupted; {saved if is_saved else 'nothing was saved yet'}",)
            raise

    def train(self) -> dict[str, float]:
        """Train one epoch or the rest of it; return its mean losses, speed and learning rate."""
        self.model.train()
        self.policy.begin_epoch(self.epoch)
        if self.freezing.begin_epoch(self.epoch) or self.task_losses is self.single_process_losses:
            self.task_losses = distributed.parallel(self.single_process_losses)
        loader, before = self.train_loader, self.so_far
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(self.epoch, before.batches)
            self.num_batches = len(loader)
        else:
            self.num_batches = len(loader)
            loader = islice(loader, before.batches, None)
        progress = Progress(self.epoch, self.max_epoch, self.num_batches, before)
        read_every = READ_EVERY if is_accelerator(self.device) else 1
        saved_at = time.monotonic()
        self.model.zero_grad(set_to_none=True)
        for self.batch_idx, batch in enumerate(progress.watch(loader), before.batches):
            self.policy.begin_batch(self.epoch, self.batch_idx)
            progress.add(self.forward_backward(batch), batch)
            last = self.batch_idx + 1 == self.num_batches
            if not last and (len(progress.unread) < read_every or not self._step_due):
                continue
            progress.read()
            save_due = self.signals.received or time.monotonic() - saved_at > SAVE_SECONDS
            if not last and self.save_dir and distributed.any_rank(save_due):
                self.so_far = progress.so_far()
                self.save()
                saved_at = time.monotonic()
                self._stop_if_asked()
        self.so_far = Done()
        for model in (self.model, self.evaluated_model):
            distributed.share_statistics(model)
        print(progress.line(), flush=True)
        optimizer, _ = next(iter(self.optimizers.values()))
        return progress.summary() | {"lr": optimizer.param_groups[0]["lr"]}

    def forward_backward(self, data: Any) -> Losses:
        """Compute a batch's losses and gradients; step after every ``accumulate`` batches.

        Returns:
            the losses of the batch's first turn, before any of its steps.
        """
        turns = self.policy.turns(self.batch_idx, tuple(self.optimizers))
        return [self.take_turn(data, turn) for turn in turns][0]

    def take_turn(self, data: Any, turn: Sequence[str]) -> Losses:
        """Compute a batch's losses and gradients, and step the optimizers of a turn."""
        self.policy.begin_turn(turn)
        no_sync = getattr(self.task_losses, "no_sync", contextlib.nullcontext)
        with contextlib.nullcontext() if self._step_due else no_sync():
            losses = self.policy.losses(self.task_losses(data), turn)
            minimized = next(iter(losses.values())) / self._batches_of_step
            self.precision.scaler.scale(minimized).backward()
        if self._step_due:
            self.step(turn)
        self.policy.end_turn()
        return {name: value.detach() for name, value in losses.items()}

    def step(self, turn: Sequence[str]) -> None:
        """Step the optimizers of a turn, then clear the gradients of all parameters."""
        scaler = self.precision.scaler
        for name in turn:
            optimizer, scheduler = self.optimizers[name]
            if self.clip_norm:
                scaler.unscale_(optimizer)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                clip_grad_norm_(parameters, self.clip_norm)
            scaler.step(optimizer)
            scheduler.step()
        if turn:  # a scaler without steps has nothing to update by
            scaler.update()
        self.model.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)

    def validate(self) -> Metrics:
        """Evaluate; record the metrics in the history, and as ``best`` if they are."""
        self.signals.waiting = False  # the state is saved: a signal may stop at once
        metrics = self.task.evaluate(self.evaluated_model)
        self.signals.waiting = True
        self.evaluated = self.finished
        if self.history:
            self.history[-1] |= metrics
        if metrics:
            key = self.best_metric or next(iter(metrics))
            if metrics[key] > self.best.get(key, -float("inf")):
                self.best = {"epoch": self.finished} | metrics
        return metrics

    def save(self, evaluated: bool = False) -> None:
        """Write a checkpoint; also ``best.pt`` if this state was evaluated and is the best."""
        self.write_checkpoint(is_best=evaluated and self.best.get("epoch") == self.finished)

    def write_checkpoint(self, is_best: bool) -> None:
        """Write ``checkpoint.pt`` to the output folder, and if ``is_best`` also ``best.pt``."""
        assert self.save_dir is not None
        state = self.state_dict()
        self.last_saved = self._position
        if distributed.is_main():
            save_checkpoint(self.save_dir, self.description | state, is_best)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.last_saved = self._position

    def _evaluation_due(self, eval_freq: int) -> bool:
        """Whether the finished epoch is one to evaluate after, and was not evaluated yet."""
        if self.finished == self.evaluated:
            return False
        last = self.finished >= self.max_epoch
        return last or bool(eval_freq and self.finished % eval_freq == 0)

    def _evaluate(self, log: Log) -> Metrics:
        """Evaluate after an epoch, record the epoch's events and save."""
        metrics = self.validate()
        if self.finished < self.max_epoch:
            print(f"  {format_values(metrics)}", flush=True)
        log(self.history[-1], self.finished)
        self.save(evaluated=True)
        return metrics

    @property
    def _position(self) -> str:
        return f"epoch {self.finished + 1}, batch {self.so_far.batches + 1}"

    @property
    def _step_due(self) -> bool:
        done = self.batch_idx + 1
        return done % self.accumulate == 0 or done == self.num_batches

    @property
    def _batches_of_step(self) -> int:
        """``accumulate``, or fewer in the last step of an epoch."""
        first = self.batch_idx - self.batch_idx % self.accumulate
        return min(self.accumulate, self.num_batches - first)

    def _stop_if_asked(self) -> None:
        if distributed.any_rank(self.signals.received):
            raise Interrupted(self.signals.received or signal.SIGTERM)
