"""A task that has nothing to do with Re-ID: fit a function of four numbers."""

from pathlib import Path

import torch
from torch import Tensor, nn

from reid_dcs.engine import Trainer, read_last_checkpoint

SAMPLES, BATCH, EPOCHS = 48, 8, 3


class Samples:
    """Batches (inputs, targets, names), shuffled by epoch; an epoch can be resumed within."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(SAMPLES, 4, generator=random)
        self.targets = self.inputs.sin().sum(1, keepdim=True)
        self.set_epoch(0)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        return SAMPLES // BATCH

    def __iter__(self):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(self.epoch))
        for index in order.split(BATCH)[self.first_batch :]:
            yield self.inputs[index], self.targets[index], [f"sample {i}" for i in index.tolist()]


class Regression:
    """Two losses with names that only this task knows, and one metric."""

    def __init__(self, model: nn.Module, samples: Samples) -> None:
        self.model, self.samples = model, samples

    def losses(self, batch) -> dict[str, Tensor]:
        inputs, targets, _ = batch
        outputs = self.model(inputs)
        misfit, wiggle = (outputs - targets).square().mean(), outputs.diff(dim=0).abs().mean()
        return {"misfit": misfit + 0.01 * wiggle, "wiggle": wiggle}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        error = (model.eval()(self.samples.inputs) - self.samples.targets).square().mean()
        return {"closeness": float(1 / (1 + error))}


def make_trainer() -> Trainer:
    """Seeded: every call gives the same trainer, of a network with batch norm and dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1)
    )
    samples = Samples()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(samples))
    task = Regression(model, samples)
    return Trainer(task, model, samples, {"all": (optimizer, schedule)}, accumulate=2, ema=0.9)


def run_to_the_end(folder: Path) -> dict[str, Tensor]:
    """Train, from the folder's last checkpoint if there is one; return every saved weight."""
    trainer = make_trainer()
    content = read_last_checkpoint(folder)
    if content:
        trainer.load_state_dict(content)
    trainer.run(folder, EPOCHS, eval_freq=1)
    states = {"": trainer.model, "average.": trainer.evaluated_model}
    return {prefix + k: v for prefix, m in states.items() for k, v in m.state_dict().items()}
