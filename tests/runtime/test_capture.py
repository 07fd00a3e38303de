"""A training step in CUDA graphs is the step without them; elsewhere one line refuses it."""

import copy

import pytest
import torch
from helpers.networks import CLASSES, active_model
from torch import nn

from reid_dcs import runs
from reid_dcs.config import TrainConfig
from reid_dcs.errors import InputError
from reid_dcs.runtime import distributed
from reid_dcs.runtime.capture import Captured, training_network

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
MODELS = "mobilenetv2_base", "mobilenetv2_sa", "mobilenetv2_dcs", "osnet_x1_0_dcs", "resnet50_dcs"
TOLERANCE = {torch.float64: 1e-8, torch.bfloat16: 2e-2}


@on_cuda
@pytest.mark.parametrize("precision", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_the_network(name, precision):
    """Two sizes of input in turn, with a part frozen in the last steps."""
    plain = active_model(name).cuda().train()
    if precision == torch.float64:
        plain.double()
    captured = copy.deepcopy(plain)
    expected, found = steps(plain, plain, precision), steps(captured, Captured(captured), precision)
    limit = TOLERANCE[precision]
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
    if precision == torch.float64:  # in half precision, tiny networks magnify rounding
        torch.testing.assert_close(
            captured.state_dict(), plain.state_dict(), rtol=limit, atol=limit
        )


@pytest.mark.slow
def test_the_comparison_does_not_magnify_rounding():
    """At a rate of 1e-3, resnet50_dcs did: images that differ by 1e-15 failed the comparison."""
    plain = active_model("resnet50_dcs").double().train()
    rounded = copy.deepcopy(plain)
    limit = TOLERANCE[torch.float64]
    expected = steps(plain, plain, torch.float64)
    found = steps(rounded, lambda images: rounded(images * (1 + 1e-15)), torch.float64)
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
    torch.testing.assert_close(rounded.state_dict(), plain.state_dict(), rtol=limit, atol=limit)


def steps(model: nn.Module, network, precision: torch.dtype) -> list[torch.Tensor]:
    """Losses of six steps of SGD on the same images."""
    device = next(model.parameters()).device
    optimizer = torch.optim.SGD(model.parameters(), 1e-5)
    losses = []
    for step in range(6):
        if step == 4:
            next(model.children()).requires_grad_(False)
        torch.manual_seed(step % 2)
        images = torch.randn(8, 3, 64, 32 + 32 * (step % 2), device=device)
        half = precision == torch.bfloat16
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits, features = network(images if half else images.double())
        targets = torch.arange(8, device=device) % CLASSES
        loss = nn.functional.cross_entropy(logits, targets) + features.std()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


@on_cuda
def test_capture_changes_nothing():
    """Running statistics move by one step, and the next random number is as without a capture."""
    plain = active_model("mobilenetv2_dcs").cuda().train()
    captured = copy.deepcopy(plain)
    images = torch.randn(8, 3, 64, 32, device="cuda")
    torch.manual_seed(0)
    plain(images)
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    Captured(captured)(images)
    assert torch.equal(torch.rand(3, device="cuda"), expected)
    for key, value in plain.named_buffers():
        torch.testing.assert_close(dict(captured.named_buffers())[key], value, msg=key)
    assert "forward" not in vars(captured)


@on_cuda
def test_a_network_that_reads_a_value_back_is_refused_and_unchanged():
    class Reading(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x) * x.sum().item()

    model = Reading(4).cuda().train()
    with pytest.raises(InputError, match=r"^train.capture: the network cannot be captured \("):
        Captured(model)(torch.randn(8, 4, device="cuda"))
    assert model.num_batches_tracked == 0 and "forward" not in vars(model)


@pytest.mark.parametrize("command", [runs.train, runs.search])
def test_a_run_on_a_cpu_is_refused_before_data_are_read(command, tmp_path):
    settings = {"data": {"root": str(tmp_path / "none")}, "train": {"capture": True}}
    with pytest.raises(InputError, match="^train.capture: it needs a CUDA device"):
        command(settings | {"device": "cpu", "output_dir": str(tmp_path / "run")})
    assert not any(tmp_path.iterdir())


def test_in_evaluation_the_network_is_called():
    model = active_model("mobilenetv2_dcs").eval()
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(Captured(model)(images), model(images))


@pytest.mark.parametrize(
    ("settings", "processes", "reason"),
    [
        ({}, 1, "it needs a CUDA device, and this run is on cpu"),
        ({"accumulate": 2}, 1, "train.accumulate adds gradients up"),
        ({"compile": True}, 1, "train.compile=true captures as well"),
        ({}, 2, "there are several processes"),
    ],
)
def test_refusals(settings, processes, reason, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    recipe = TrainConfig(capture=True, **settings)
    with pytest.raises(InputError, match=f"^train.capture: {reason}; use train.capture=false$"):
        training_network(nn.Linear(1, 1), recipe)
