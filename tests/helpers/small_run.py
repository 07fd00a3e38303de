"""A Re-ID run with all parts of a real one, trained in a tenth of a second."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from reid_dcs.config import TrainConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.manager import TestLoader, TrainLoader
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore
from reid_dcs.engine import build_optimizer, build_schedule, read_last_checkpoint
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime import distributed
from reid_dcs.runtime.precision import Precision

CPU = torch.device("cpu")
IDENTITIES, IMAGES = 6, 8
RECIPE = TrainConfig(epochs=3, warmup_epochs=1, accumulate=2, ema=0.9, clip_norm=1.0)


class Network(nn.Module):
    """Of torchreid's contract, with a batch norm and with dropout, which draws random numbers."""

    def __init__(self, num_classes: int = IDENTITIES, **of_torchreid) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.neck = nn.BatchNorm1d(4)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(4, num_classes, bias=False)

    def forward(self, images):
        pooled = self.drop(self.trunk(images).mean((2, 3)))  # (B, 4)
        features = self.neck(pooled)
        return (self.classifier(features), pooled) if self.training else features


def make_store(images: int = IMAGES) -> ImageStore:
    random = torch.Generator().manual_seed(0)
    count = IDENTITIES * images
    pids = torch.arange(IDENTITIES).repeat_interleave(images)
    pixels = torch.randint(0, 256, (count, 12, 8, 3), generator=random, dtype=torch.uint8)
    pixels[:, :, :, 0] = (pids * 40).to(torch.uint8)[:, None, None]  # there is something to learn
    cameras = torch.arange(count) % 2
    names = tuple(f"{i:04d}.jpg" for i in range(count))
    return ImageStore(pixels, pids, cameras, torch.zeros_like(pids), names)


def make_engine(recipe: TrainConfig = RECIPE, batch_size: int = 12, **options) -> ReIDEngine:
    """Seeded; every call gives the same engine, in float32 also where the CPU has bfloat16."""
    options.setdefault("precision", Precision("float32", CPU))
    store = make_store()
    torch.manual_seed(0)
    model = Network()
    torch.manual_seed(distributed.rank())
    sampler = IdentitySampler(
        store.pids, batch_size, 2, 0, distributed.rank(), distributed.world_size()
    )
    test = {split: TestLoader(store, 16, CPU) for split in ("query", "gallery")}
    manager = SimpleNamespace(
        use_gpu=False,
        train_loader=TrainLoader(store, sampler, Augmentation(0.5, 2, 0.5), CPU, mixup=0.3),
        test_loader={"random": test},
    )
    optimizer = build_optimizer(model.parameters(), recipe)
    steps = -(-len(sampler) // recipe.accumulate)
    return ReIDEngine(
        manager,
        model,
        optimizer,
        build_schedule(optimizer, recipe, recipe.epochs, steps),
        IdentityTripletLoss(),
        accumulate=recipe.accumulate,
        clip_norm=recipe.clip_norm,
        ema=recipe.ema,
        frozen_epochs=recipe.frozen_epochs,
        description={"config": {"train": {"schedule": recipe.schedule}}},
        **options,
    )


def run_to_the_end(
    folder: Path, recipe: TrainConfig = RECIPE, **options
) -> dict[str, torch.Tensor]:
    """Train, from the folder's last checkpoint if there is one; return every saved weight."""
    engine = make_engine(recipe, **options)
    content = read_last_checkpoint(folder)
    if content:
        engine.load_state_dict(content)
    engine.run(folder, recipe.epochs, eval_freq=1)
    states = {"": engine.model.state_dict(), "average.": engine.evaluated_model.state_dict()}
    return {prefix + key: v for prefix, state in states.items() for key, v in state.items()}
