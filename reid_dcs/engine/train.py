"""Training: torchreid's engine with our batches, criterion, evaluation and checkpoints."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from tqdm import tqdm

from reid_dcs.engine.checkpoint import CHECKPOINT, save_checkpoint
from reid_dcs.errors import InputError
from reid_dcs.evaluation import RankResult, evaluate_features, extract_features


class ReIDEngine(torchreid_engine.Engine):
    """Trains one network; each epoch ends with a checkpoint.

    Args:
        datamanager: gives the batches: ours or torchreid's own.
        model: follows torchreid's contract, on the device that trains.
        optimizer, scheduler: of torch; the scheduler is stepped once a batch.
        criterion: ``(logits, features, pids)`` to named losses, the first one minimised.
        metric: of evaluation.
        step_model: what training runs, if not ``model`` itself: a compiled one.
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
        step_model: nn.Module | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(datamanager, use_gpu=datamanager.use_gpu)
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.register_model("model", model, optimizer, scheduler)
        self.criterion, self.metric = criterion, metric
        self.step_model = model if step_model is None else step_model
        self.description = dict(description or {})
        self.history: list[dict[str, float]] = []  # one entry an epoch

    def run(
        self, save_dir: str | Path, max_epoch: int, start_epoch: int = 0, eval_freq: int = 0
    ) -> None:
        """Train from ``start_epoch`` to ``max_epoch``, evaluating every ``eval_freq`` epochs.

        ``save_dir`` receives ``checkpoint.pt`` and TensorBoard's events. The evaluation after the
        last epoch is the caller's.
        """
        self.start_epoch, self.max_epoch = start_epoch, max_epoch
        with SummaryWriter(save_dir) as self.writer:
            for self.epoch in range(start_epoch, max_epoch):
                summary = self.train()
                last = self.epoch + 1 == max_epoch
                if eval_freq and not last and (self.epoch + 1) % eval_freq == 0:
                    result = next(iter(self.test().values()))
                    summary |= {"mAP": result.mAP, "rank1": float(result.cmc[0])}
                    print(f"  mAP {result.mAP:.1%}  rank-1 {result.cmc[0]:.1%}", flush=True)
                self.history.append(summary)
                for name, value in summary.items():
                    self.writer.add_scalar(f"train/{name}", value, self.epoch + 1)
                self.save_model(self.epoch, summary.get("rank1"), save_dir)

    def train(self) -> dict[str, float]:
        """One epoch; returns its mean losses, accuracy, images a second and learning rate."""
        self.set_model_mode("train")
        if hasattr(self.train_loader, "set_epoch"):  # torchreid's loaders have none
            self.train_loader.set_epoch(self.epoch)
        started, images, sums = time.perf_counter(), 0, None
        title = f"epoch {self.epoch + 1}/{self.max_epoch}"
        with tqdm(self.train_loader, title, unit="batch", leave=False, disable=None) as bar:
            for self.batch_idx, data in enumerate(bar, 1):
                named = self.forward_backward(data)
                losses = torch.stack(list(named.values()))
                sums = losses if sums is None else sums + losses
                images += len(data["pid"])
                if self.batch_idx % 10 == 0:  # reading a loss waits for the device
                    speed = images / (time.perf_counter() - started)
                    bar.set_postfix(loss=f"{sums[0] / self.batch_idx:.3f}", images_s=f"{speed:.0f}")
        summary = dict(zip(named, (sums / self.batch_idx).tolist(), strict=True))
        if not sums.isfinite().all():
            raise InputError(
                f"the loss is not a number in epoch {self.epoch + 1}: lower train.learning_rate"
            )
        seconds = time.perf_counter() - started
        summary |= {"seconds": seconds, "images_s": images / seconds, "lr": self.get_current_lr()}
        print(
            f"{title}  loss {summary['total']:.3f}  identity {summary['identity']:.3f}  "
            f"triplet {summary['triplet']:.3f}  accuracy {summary['accuracy']:.1%}  "
            f"{summary['images_s']:.0f} images/s",
            flush=True,
        )
        return summary

    def forward_backward(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """One step on a batch; returns its losses and accuracy, detached, on the device."""
        device = next(self.model.parameters()).device
        images, pids = (v.to(device) for v in self.parse_data_for_train(data))
        logits, features = self.step_model(images)
        losses = self.criterion(logits, features, pids)
        if "partner" in data:  # mixup
            others = self.criterion(logits, features, data["partner"].to(device))
            blended = (
                torch.lerp(b, a, data["weight"]) for a, b in zip(losses, others, strict=True)
            )
            losses = type(losses)(*blended)
        self.optimizer.zero_grad(set_to_none=True)
        losses[0].backward()
        self.optimizer.step()
        self.update_lr()
        named = {name: loss.detach() for name, loss in losses._asdict().items()}
        return named | {"accuracy": (logits.detach().argmax(1) == pids).float().mean()}

    def test(self) -> dict[str, RankResult]:
        """Evaluate on every target: single query, no re-ranking."""
        results = {}
        for name, loaders in self.test_loader.items():
            query = extract_features(self.model, loaders["query"], "query")
            gallery = extract_features(self.model, loaders["gallery"], "gallery")
            results[name] = evaluate_features(
                query.vectors,
                gallery.vectors,
                query.pids,
                gallery.pids,
                query.camids,
                gallery.camids,
                self.metric,
            )
        return results

    def save_model(
        self, epoch: int, rank1: float | None, save_dir: str | Path, is_best: bool = False
    ) -> None:
        """Write ``checkpoint.pt``: everything that continues the run, and what the model is."""
        content = {
            **self.description,
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": epoch + 1,
            "history": self.history,
        }
        save_checkpoint(Path(save_dir, CHECKPOINT), content)

    def resume(self, content: Mapping[str, Any]) -> int:
        """Take up a checkpoint of this run; returns the epoch to start from."""
        self.model.load_state_dict(content["state_dict"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        torch.set_rng_state(content["rng"])
        self.history = list(content["history"])
        self.epoch = content["epoch"] - 1
        return content["epoch"]
