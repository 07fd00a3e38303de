"""Our loaders under torchreid's contract."""

import pytest
import torch
from PIL import Image
from torchreid import data as torchreid_data
from torchreid import engine as torchreid_engine
from torchreid import models as torchreid_models

from reid_dcs.data.augment import Augmentation
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.manager import InMemoryDataManager


@pytest.fixture(scope="module")
def manager(tiny_root):
    return InMemoryDataManager(
        "synthetic",
        load_dataset("synthetic", str(tiny_root)),
        height=64,
        width=32,
        batch_size=16,
        num_instances=4,
        test_batch_size=10,
        augmentation=Augmentation(),
        device=torch.device("cpu"),
    )


def test_a_training_batch_is_torchreids(manager):
    batch = next(iter(manager.train_loader))
    assert batch["img"].shape == (16, 3, 64, 32) and batch["img"].dtype == torch.float32
    assert batch["pid"].unique(return_counts=True)[1].tolist() == [4] * 4
    assert len(batch["impath"]) == len(batch["camid"]) == len(batch["dsetid"]) == 16
    assert manager.num_train_pids == 8 and manager.num_train_cams == 6
    for path, pid in zip(batch["impath"], batch["pid"].tolist(), strict=True):
        assert path.split("/")[-1].startswith(f"{pid + 1:04d}_")


def test_an_epoch_repeats_itself_and_differs_from_the_next(manager):
    def epoch(number):
        manager.train_loader.set_epoch(number)
        return torch.cat([batch["img"] for batch in manager.train_loader])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_test_images_are_those_of_torchreids_transform(manager):
    query = manager.test_loader["synthetic"]["query"]
    batches = list(query)
    assert len(batches) == len(query) == 4 and len(batches[-1]["pid"]) == 6
    paths, _ = manager.fetch_test_loaders("synthetic")
    assert [path for batch in batches for path in batch["impath"]] == [item[0] for item in paths]
    expected = manager.preprocess_pil_img(Image.open(paths[0][0]).convert("RGB"))
    torch.testing.assert_close(batches[0]["img"][0], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_stock_torchreid_engine_trains_on_it(manager, tmp_path, capsys):
    model = torchreid_models.build_model("osnet_x0_25", 8, "triplet", False, False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    engine = torchreid_engine.ImageTripletEngine(manager, model, optimizer, use_gpu=False)
    engine.max_epoch, engine.epoch = 1, 0
    before = [p.clone() for p in model.parameters()]
    engine.train(print_freq=1)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert "loss_t" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_data_set_feeds_torchreids_own_manager(tiny_root):
    manager = torchreid_data.ImageDataManager(
        root=str(tiny_root),
        sources="dcs_synthetic",
        height=64,
        width=32,
        batch_size_train=16,
        train_sampler="RandomIdentitySampler",
        workers=0,
        use_gpu=False,
    )
    assert next(iter(manager.train_loader))["img"].shape == (16, 3, 64, 32)
