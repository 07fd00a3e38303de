"""Compare a device with the CPU: a training step, a search step, an evaluation of each model.

The step is that of the engine, from the augmentation of a batch to the update of the parameters,
with SGD, whose update is proportional to the gradient. Errors are relative, ``|x - y| / |y|`` over
all values, with the CPU in float32 as y. On a GPU, float32 is computed without TF32 here.

Networks are new, and deep ones magnify what half precision rounds: their features differ by half.
So the CPU computes in bfloat16, too, and a device may differ twice as much in half precision.
"""

import contextlib
import copy
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from reid_dcs import build_model
from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.manager import TrainLoader
from reid_dcs.data.sampler import IdentitySampler
from reid_dcs.data.store import ImageStore
from reid_dcs.engine import build_optimizer, build_schedule
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.errors import InputError
from reid_dcs.evaluation.features import embed
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.precision import Precision
from reid_dcs.search import Supergraph, build_supergraph, search_parameters
from reid_dcs.search.engine import SearchEngine

CPU = torch.device("cpu")
NOISE = torch.Generator()  # of what a step draws, on the CPU
PRECISIONS = ("float32", "bfloat16", "float16")
TOLERANCES = {  # of the loss, the update and the features
    "float32": {"loss": 1e-3, "update": 5e-2, "features": 2e-3},
    "float16": {"loss": 2e-2, "update": 0.3, "features": 2e-2},
    "bfloat16": {"loss": 5e-2, "update": 0.6, "features": 0.1},
}
IDENTITIES, INSTANCES, HEIGHT, WIDTH = 8, 2, 64, 32
SGD = OptimizerConfig("sgd", 0.1, momentum=0, weight_decay=0, warmup_epochs=0, schedule="step")


def supported(device: torch.device) -> list[str]:
    """Names of the precisions that the toolkit supports on a device."""
    found = []
    for name in PRECISIONS:
        with contextlib.suppress(InputError):
            found.append(Precision(name, device).name)
    return found


def check(name: str, device: torch.device) -> list[dict]:
    """Compare all that a model can do, in every precision of a device, with the CPU.

    Returns:
        a row for each precision and kind of step: errors, and whether they are tolerated.
    """
    torch.manual_seed(0)
    network = _build(name)
    searched = any(search_parameters(network)[1:])
    steps = ["train"] * (not isinstance(network, Supergraph)) + ["search"] * searched
    rows = []
    with _comparable():
        for step in steps:
            expected = _outputs(network, step, Precision("float32", CPU))
            rounded = _errors(_outputs(network, step, _bfloat16_on_cpu()), expected)
            for precision in supported(device):
                found = _outputs(network, step, Precision(precision, device))
                errors = _errors(found, expected)
                limits = TOLERANCES[precision]
                if precision != "float32":
                    limits = {key: max(limit, 2 * rounded[key]) for key, limit in limits.items()}
                passed = all(error <= limits[key] for key, error in errors.items())
                rows.append(
                    {"model": name, "step": step, "precision": precision, **errors, "ok": passed}
                )
    return rows


def _build(name: str) -> nn.Module:
    """A network, or a supergraph (``supergraph:NAME``), whose attention is not the identity.

    It drops nothing, since each device would drop other values.
    """
    options = {} if name.endswith("_base") else {"zero_init": False}
    if name.startswith("supergraph:"):
        network = build_supergraph(name.partition(":")[2], IDENTITIES, **options)
    else:
        network = build_model(name, IDENTITIES, **options)
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    return network


def _bfloat16_on_cpu() -> Precision:
    """bfloat16 on a CPU, native or emulated, which the toolkit refuses as it is slow."""
    precision = Precision("float32", CPU)
    precision.name, precision.dtype = "bfloat16", torch.bfloat16
    return precision


def _outputs(network: nn.Module, step: str, precision: Precision) -> dict[str, Tensor]:
    """Loss and update of one step, and features before it: float64, on the CPU."""
    model = copy.deepcopy(network).to(precision.device, memory_format=torch.channels_last)
    engine = _engine(model, step, precision)
    batch = next(iter(engine.train_loader))
    features = _features(model, batch["img"], engine.precision.dtype)
    before = _parameters(model)
    model.train()
    engine.num_batches = 2
    engine.batch_idx = 1 if step == "search" else 0  # the last batch is the windows'
    for _ in range(20):  # a gradient scaler skips the first steps, until its scale fits
        NOISE.manual_seed(0)
        loss = next(iter(engine.forward_backward(batch).values()))
        update = _parameters(model) - before
        if update.any():
            break
    return {"loss": loss.double().cpu().view(1), "update": update, "features": features}


def _engine(model: nn.Module, step: str, precision: Precision) -> ReIDEngine:
    device, random = precision.device, torch.Generator().manual_seed(0)
    pids = torch.arange(IDENTITIES).repeat_interleave(2 * INSTANCES)
    shape = (len(pids), HEIGHT, WIDTH, 3)
    pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8).to(device)
    store = ImageStore(pixels, pids, pids, pids, ("",) * len(pids))
    sampler = IdentitySampler(pids, IDENTITIES * INSTANCES, INSTANCES)
    augmentation = Augmentation(0.5, 2, 0.5, brightness=0.2, contrast=0.15)
    manager = SimpleNamespace(
        use_gpu=device.type == "cuda",
        train_loader=TrainLoader(store, sampler, augmentation, device),
        test_loader={},
    )
    criterion = IdentityTripletLoss()
    if step == "search":
        search = SearchConfig(weight_optimizer=SGD, window_optimizer=SGD, logit_optimizer=SGD)
        search.window_share = 0.5
        return SearchEngine(manager, model, criterion, search, precision=precision)
    optimizer = build_optimizer(model.parameters(), SGD)
    schedule = build_schedule(optimizer, SGD, 1, 100)
    return ReIDEngine(manager, model, optimizer, schedule, criterion, precision=precision)


def _features(model: nn.Module, images: Tensor, dtype: torch.dtype) -> Tensor:
    """Features (B, D) of a batch, with the batch norms' statistics taken from it."""
    model.eval()  # windows are chosen as in evaluation: others would give other statistics
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return embed(model.eval(), images, dtype=dtype).double()


def _parameters(model: nn.Module) -> Tensor:
    """All parameters, (P,) float64, on the CPU."""
    return torch.cat([p.detach().double().flatten().cpu() for p in model.parameters()])


def _errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    return {key: _error(found[key], expected[key]) for key in expected}


def _error(found: Tensor, expected: Tensor) -> float:
    error = ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()
    return error if error == error else float("inf")


@contextlib.contextmanager
def _comparable() -> Iterator[None]:
    """Context without TF32, where the noise of searches is drawn on the CPU for every device."""

    def rand_like(values: Tensor) -> Tensor:
        return torch.rand(values.shape, generator=NOISE).to(values)

    def gumbel_softmax(logits: Tensor, tau: float = 1.0) -> Tensor:
        noise = -torch.empty(logits.shape).exponential_(generator=NOISE).log().to(logits)
        return ((logits + noise) / tau).softmax(-1)

    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # in products it is off
        patch.object(torch, "rand_like", rand_like),
        patch.object(F, "gumbel_softmax", gumbel_softmax),
    ):
        yield
