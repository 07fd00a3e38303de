"""Images per second of feeding, training steps and evaluation on a device, and their shares.

A share is that of the time of one epoch of Market-1501 (12,936 images) and one evaluation (19,281
images). Images are random, in a store on the device. On a GPU a batch is fed while the step before
it runs, so the shares bound what either could gain.
"""

from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace

import torch
from measuring import seconds

from reid_dcs import build_model
from reid_dcs.config import TrainConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.manager import TestLoader, TrainLoader
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore
from reid_dcs.engine import build_optimizer, build_schedule
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.errors import InputError
from reid_dcs.evaluation.features import extract_features
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.capture import training_network
from reid_dcs.runtime.precision import Precision

TRAIN_IMAGES, TEST_IMAGES = 12_936, 3_368 + 15_913  # of Market-1501
INSTANCES, WARMUP = 4, 3


class Speed:
    """Measures a model on random images.

    Args:
        model: name of the model.
        height, width: size of the images.
        batch_size: images in a batch.
        steps: batches that are timed, after a warm-up.
    """

    def __init__(
        self,
        device: torch.device,
        model: str,
        height: int = 256,
        width: int = 128,
        batch_size: int = 64,
        steps: int = 30,
    ) -> None:
        self.device, self.batch_size, self.steps = device, batch_size, steps
        pids = torch.arange((WARMUP + steps) * batch_size // INSTANCES).repeat_interleave(INSTANCES)
        self.identities, random = int(pids[-1]) + 1, torch.Generator().manual_seed(0)
        shape = (len(pids), height, width, 3)
        pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
        self.store = ImageStore(pixels, pids, pids, pids, ("",) * len(pids)).on(device)
        torch.manual_seed(0)
        self.model = build_model(model, self.identities)
        self.model = self.model.to(device, memory_format=torch.channels_last)

    def rates(self) -> Iterator[tuple[str, float | str]]:
        """Images per second of each part, one at a time; or why it cannot be measured."""
        yield "feeding", self.feeding()
        best = Precision("auto", self.device).name
        for name in dict.fromkeys(("float32", best)):
            yield f"training, {name}", self.training(name)
        if self.device.type == "cuda":  # elsewhere there is nothing to capture
            for setting in ("capture", "compile"):
                part = f"training, {best}, train.{setting}=true"
                try:
                    yield part, self.training(best, **{setting: True})
                except (InputError, RuntimeError) as error:
                    yield part, str(error).partition("\n")[0]
        yield "evaluation", self.evaluation()

    def feeding(self) -> float:
        """Batches of the training loader: crop, flip, erasing, normalization."""
        batches = iter(self._loader())
        for _ in range(WARMUP):
            next(batches)
        return self._rate(lambda: [batch["img"] for batch in islice(batches, self.steps)])

    def training(self, precision: str, **settings: bool) -> float:
        """Steps of the engine on one batch; ``settings`` are ``train.capture`` and ``compile``.

        Raises:
            InputError: there is no working compiler.
        """
        recipe = TrainConfig(learning_rate=1e-4, **({"compile": False} | settings))
        optimizer = build_optimizer(self.model.parameters(), recipe)
        loader = self._loader()
        engine = ReIDEngine(
            SimpleNamespace(use_gpu=False, train_loader=loader, test_loader={}),
            self.model.train(),
            optimizer,
            build_schedule(optimizer, recipe, 10, self.steps),
            IdentityTripletLoss(),
            compiled=training_network(self.model, recipe),
            precision=Precision(precision, self.device),
        )
        batch = next(iter(loader))
        for _ in range(WARMUP):
            engine.forward_backward(batch)
        return self._rate(lambda: [engine.forward_backward(batch) for _ in range(self.steps)])

    def evaluation(self) -> float:
        """Features of test images, read back to the CPU, without the ranking."""
        loader = TestLoader(self.store, 2 * self.batch_size, self.device)
        extract_features(self.model, islice(loader, WARMUP))
        return len(self.store) / seconds(lambda: extract_features(self.model, loader), self.device)

    def _loader(self) -> TrainLoader:
        sampler = IdentitySampler(self.store.pids, self.batch_size, INSTANCES)
        return TrainLoader(self.store, sampler, Augmentation(0.5, 10, 0.5), self.device)

    def _rate(self, run) -> float:
        return self.steps * self.batch_size / seconds(run, self.device)


def shares(rates: dict[str, float | str]) -> dict[str, float]:
    """Shares of feeding, of the fastest training step and of the evaluation, which sum to 1."""
    measured = {part: rate for part, rate in rates.items() if not isinstance(rate, str)}
    trained = [part for part in measured if part.startswith("training")]
    fastest = max(trained, key=measured.__getitem__)
    time = {
        "feeding": TRAIN_IMAGES / measured["feeding"],
        fastest: TRAIN_IMAGES / measured[fastest],
        "evaluation": TEST_IMAGES / measured["evaluation"],
    }
    return {part: value / sum(time.values()) for part, value in time.items()}
