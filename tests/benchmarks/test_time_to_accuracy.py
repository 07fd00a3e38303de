"""Both libraries get the same minutes, and evaluations at intervals that do not count."""

import argparse
import json
import subprocess
import sys

import pytest
import torch
from helpers.paths import REPOSITORY
from torchreid import models as torchreid_models
from torchvision.models import mobilenet_v2

from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.models import build_backbone

pytestmark = [pytest.mark.slow, pytest.mark.release]


def test_torchreids_network_starts_as_ours(monkeypatch, tmp_path):
    """From one file, both have the same maps in evaluation."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from time_to_accuracy import load_imagenet

    file = tmp_path / "imagenet.pth"
    torch.manual_seed(0)
    torch.save(mobilenet_v2().state_dict(), file)
    theirs = torchreid_models.build_model("mobilenetv2_x1_0", 5, loss="triplet", pretrained=False)
    load_imagenet(theirs, file)
    ours = build_backbone("mobilenetv2", "base", last_stride=2)
    ours.load_pretrained(str(file))
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval().featuremaps(images), ours.eval()(images))


def test_phases_keep_their_shares_of_the_epochs(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from time_to_accuracy import CONFIGS, read_settings

    file = CONFIGS / "recipes/two_cores.yaml"  # 30, 15 and 15 epochs
    options = argparse.Namespace(config_file=[file], weights=None, root="x", epochs=24)
    assert [phase.epochs for phase in read_settings(options).data.phases] == [12, 6]


def test_both_libraries_are_measured_for_their_minutes(tiny_root, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "data: {name: synthetic, height: 64, width: 32, batch_size: 8, num_instances: 2}\n"
        "model: {name: mobilenetv2_dcs}\n"
    )
    output, minutes = tmp_path / "output", 0.1
    script = str(REPOSITORY / "benchmarks/time_to_accuracy.py")
    command = [sys.executable, script, "--minutes", str(minutes), "--every", "0.04"]
    command += ["--output", str(output), "--root", str(tiny_root), "--config-file", str(settings)]
    command += ["--torchreid-batch", "8", "--workers", "0", "--epochs", "50"]
    command += ["--torchreid-epochs", "50"]
    subprocess.run(command, check=True)
    for library in ("torchreid", "reid_dcs"):
        result = json.loads((output / f"{library}.json").read_text())
        times = [point["minutes"] for point in result["points"]]
        assert result["finished"] and len(times) >= 2
        assert times == sorted(times) and minutes <= times[-1] < minutes + 0.15
        assert all(0 < point["mAP"] <= 1 for point in result["points"])
    picture = output / "time_to_accuracy.png"
    before = picture.stat().st_mtime_ns, (output / "torchreid.json").stat().st_mtime_ns
    picture.unlink()
    subprocess.run(command, check=True)  # only draws again
    assert picture.exists() and (output / "torchreid.json").stat().st_mtime_ns == before[1]


def test_ours_goes_on_where_it_was_stopped(tiny_root, tmp_path, monkeypatch):
    """Epochs, evaluations and minutes."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import time_to_accuracy

    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "data: {name: synthetic, height: 64, width: 32, batch_size: 8, num_instances: 2}\n"
        "model: {name: mobilenetv2_base}\n"
    )
    arguments = ["--minutes", "60", "--output", str(tmp_path), "--root", str(tiny_root)]
    arguments += ["--config-file", str(settings), "--only", "reid_dcs"]
    monkeypatch.setattr(time_to_accuracy, "epochs_within", lambda *_: next(estimates))
    estimates = iter([3, 7])  # another one when it goes on, which its schedule would not fit
    trained, train = [], ReIDEngine.train

    def stopped_in_the_third(engine):
        trained.append(engine.epoch)
        if engine.epoch == 2 and len(trained) == 3:
            raise KeyboardInterrupt
        return train(engine)

    monkeypatch.setattr(ReIDEngine, "train", stopped_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        time_to_accuracy.main(arguments)
    spent = torch.load(tmp_path / "checkpoints/checkpoint.pt", weights_only=True)["minutes"]
    time_to_accuracy.main(arguments)
    assert trained == [0, 1, 2, 2]
    result = json.loads((tmp_path / "reid_dcs.json").read_text())
    assert result["finished"] and 0 < spent < result["points"][-1]["minutes"]


def test_a_clock_goes_on_from_an_earlier_time(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from training_clock import Clock

    clock = Clock(60.0, 10.0, torch.device("cpu"))
    clock.paused = 1000.0
    clock.set(25.0, 2)
    assert 25 <= clock.minutes < 26 and clock.due == 30
