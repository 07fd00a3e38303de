"""Loaders and data manager against torchreid's interface."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from torchreid import models as torchreid_models

from reid_dcs import build_model
from reid_dcs.data.augment import Augmentation
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.manager import InMemoryDataManager, TrainLoader, build_test_loaders
from reid_dcs.data.store import ImageStore
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.evaluation import extract_features
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.runtime.precision import Precision


def make_manager(root, **options):
    return InMemoryDataManager(
        "synthetic",
        load_dataset("synthetic", str(root)),
        height=64,
        width=32,
        batch_size=16,
        num_instances=4,
        test_batch_size=10,
        augmentation=Augmentation(),
        device=torch.device("cpu"),
        **options,
    )


@pytest.fixture(scope="module")
def manager(tiny_root):
    return make_manager(tiny_root)


def test_a_training_batch_has_torchreids_format(manager):
    batch = next(iter(manager.train_loader))
    assert batch["img"].shape == (16, 3, 64, 32) and batch["img"].dtype == torch.float32
    assert batch["pid"].unique(return_counts=True)[1].tolist() == [4] * 4
    assert len(batch["impath"]) == len(batch["camid"]) == len(batch["dsetid"]) == 16
    assert manager.num_train_pids == 8 and manager.num_train_cams == 6
    for path, pid in zip(batch["impath"], batch["pid"].tolist(), strict=True):
        assert path.split("/")[-1].startswith(f"{pid + 1:04d}_")


def test_an_epoch_is_reproducible_and_differs_from_the_next(manager):
    def epoch(number):
        manager.train_loader.set_epoch(number)
        return torch.cat([batch["img"] for batch in manager.train_loader])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_test_images_match_torchreids_transform(manager):
    query = manager.test_loader["synthetic"]["query"]
    batches = list(query)
    assert len(batches) == len(query) == 4 and len(batches[-1]["pid"]) == 6
    paths, _ = manager.fetch_test_loaders("synthetic")
    assert [path for batch in batches for path in batch["impath"]] == [item[0] for item in paths]
    expected = manager.preprocess_pil_img(Image.open(paths[0][0]).convert("RGB"))
    torch.testing.assert_close(batches[0]["img"][0], expected, rtol=0, atol=1e-5)


def test_a_stock_torchreid_engine_runs_on_it(manager, tmp_path, capsys):
    model = torchreid_models.build_model("osnet_x0_25", 8, "triplet", False, False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    engine = torchreid_engine.ImageTripletEngine(
        manager, model, optimizer, scheduler=scheduler, use_gpu=False
    )
    before = [p.clone() for p in model.parameters()]
    engine.run(save_dir=str(tmp_path), max_epoch=1, print_freq=1)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    output = capsys.readouterr().out
    assert "loss_t" in output and "Evaluating synthetic (source)" in output and "Rank-20" in output
    assert (tmp_path / "model/model.pth.tar-1").exists()


def test_our_engine_runs_on_torchreids_manager(tiny_root, tmp_path, capsys):
    theirs = torchreid_data.ImageDataManager(
        root=str(tiny_root),
        sources="dcs_synthetic",
        height=64,
        width=32,
        batch_size_train=16,
        batch_size_test=16,
        train_sampler="RandomIdentitySampler",
        workers=0,
        use_gpu=False,
    )
    model = build_model("mobilenetv2_base", 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    engine = ReIDEngine(theirs, model, optimizer, scheduler, IdentityTripletLoss())
    engine.run(tmp_path, max_epoch=1)
    assert engine.history[0]["total"] > 0 and (tmp_path / "checkpoint.pt").exists()
    result = engine.test()["dcs_synthetic"]
    assert result.num_valid == 36 and 0 < result.mAP <= 1


def test_a_mapped_manager_gives_the_same_batches(manager, tiny_root, tmp_path):
    manager.train_loader.set_epoch(0)
    mapped = make_manager(tiny_root, mapped=tmp_path / "stores/synthetic")
    for loaders in (
        (manager.train_loader, mapped.train_loader),
        (manager.test_loader["synthetic"]["query"], mapped.test_loader["synthetic"]["query"]),
    ):
        for ours, theirs in zip(*loaders, strict=True):
            assert torch.equal(ours["img"], theirs["img"]) and ours["impath"] == theirs["impath"]
    names = {path.name for path in (tmp_path / "stores").iterdir()}
    assert names == {f"synthetic-{split}-64x32.npy" for split in ("train", "query", "gallery")}


def test_mixup_batches_have_partners_and_a_weight(tiny_root):
    plain = next(iter(make_manager(tiny_root).train_loader))
    mixed = next(iter(make_manager(tiny_root, mixup=1.0).train_loader))
    w = mixed["weight"]
    blended_in = (mixed["img"] - w * plain["img"]) / (1 - w)
    for image, partner in zip(blended_in, mixed["partner"].tolist(), strict=True):
        nearest = (plain["img"] - image).square().flatten(1).mean(1)
        assert plain["pid"][nearest.argmin()] == partner and nearest.min() < 1e-3


def test_the_mixup_loss_is_a_weighted_sum_of_both_labels(manager):
    model = build_model("mobilenetv2_base", 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    criterion = IdentityTripletLoss()
    precision = Precision("float32", torch.device("cpu"))
    engine = ReIDEngine(manager, model, optimizer, scheduler, criterion, precision=precision)
    batch = next(iter(manager.train_loader))
    partner = batch["pid"].roll(4)
    model.train()
    named = engine.losses(batch | {"partner": partner, "weight": 0.3})
    with torch.no_grad():
        first, second = (criterion(*model(batch["img"]), pids) for pids in (batch["pid"], partner))
    for name in ("total", "identity", "triplet"):
        expected = 0.3 * getattr(first, name) + 0.7 * getattr(second, name)
        torch.testing.assert_close(named[name], expected, rtol=1e-4, atol=1e-5)


def test_ranks_get_different_images(tiny_root):
    first, second = (make_manager(tiny_root, rank=rank, world_size=2) for rank in range(2))
    assert len(first.train_loader) == len(second.train_loader) == 3
    paths = [
        {path for batch in manager.train_loader for path in batch["impath"]}
        for manager in (first, second)
    ]
    assert not paths[0] & paths[1]


class Batches(list):
    """Two batches of a sampler, on one of many processes."""

    def __init__(self, seed, world_size):
        super().__init__([torch.tensor([0])] * 2)
        self.epoch_seed, self.world_size, self.rank = seed * 1_000_003 + 7, world_size, 3


@pytest.mark.parametrize(
    "seed, world_size", [(0, 8), (1, 8), (2**32 - 1, 8), (2**32 - 1, 1_000), (2**32 - 1, 100_000)]
)
def test_every_batch_has_a_seed_of_its_own_for_every_seed(seed, world_size):
    store = ImageStore(torch.zeros(1, 8, 4, 3, dtype=torch.uint8), *[torch.zeros(1)] * 3, ("",))
    states = []

    def augmentation(images, index, random, device):
        states.append(random.get_state())
        return images

    sampler = Batches(seed, world_size)
    list(TrainLoader(store, sampler, augmentation, torch.device("cpu")))
    assert len(states) == 2 and not torch.equal(*states)
    first = -1 - (sampler.epoch_seed * world_size + 3) * 2
    if first - 1 >= -(2**63):  # as ever, so that resumed runs go on as they were
        for state, number in zip(states, (first, first - 1), strict=True):
            assert torch.equal(state, torch.Generator().manual_seed(number).get_state())


@pytest.mark.parametrize("free, moved", [(10**6, True), (60_000, False)])
def test_a_store_moves_to_the_accelerator_only_if_it_fits(monkeypatch, free, moved):
    images = torch.zeros(4, 64, 32, 3, dtype=torch.uint8)  # 24,576 bytes
    store = ImageStore(images, *[torch.zeros(4, dtype=torch.int64)] * 3, ("",) * 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - 20_000, 10**9))
    asked = []
    monkeypatch.setattr(Tensor, "to", lambda tensor, device: asked.append(device) or tensor)
    store.on(torch.device("cuda"))
    store.on(torch.device("cpu"))
    assert asked == [torch.device("cuda")] * moved


def test_more_processes_than_images_of_a_split(tmp_path, monkeypatch):
    items = []
    for i in range(3):
        Image.new("RGB", (16, 32), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
        items.append((str(tmp_path / f"{i}.png"), i, 0, 0))
    dataset = SimpleNamespace(query=items[:1], gallery=items)
    options = {"height": 32, "width": 16, "batch_size": 2, "device": torch.device("cpu")}
    ranks = [build_test_loaders(dataset, rank=r, world_size=5, **options) for r in range(5)]
    assert [len(rank["query"].store) for rank in ranks] == [0, 0, 0, 0, 1]

    def model(images):
        return images.mean((2, 3))

    model.eval, model.parameters = (lambda: None), (lambda: iter(()))
    parts = [[(model(b["img"]), b["pid"], b["camid"]) for b in rank["gallery"]] for rank in ranks]
    monkeypatch.setattr("reid_dcs.evaluation.features.gathered", lambda part: parts)
    features = extract_features(model, ranks[0]["gallery"])
    assert features.pids.tolist() == [0, 1, 2] and features.vectors.shape == (3, 3)
