"""What a step is made of: accumulation, clipping, averages, a frozen trunk, mixed precision."""

import copy
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from helpers.small_run import CPU, RECIPE, make_engine, run_to_the_end
from matplotlib.axes import Axes

from reid_dcs import InputError
from reid_dcs.config import TrainConfig
from reid_dcs.runtime import precision as precision_module
from reid_dcs.runtime.precision import Precision
from reid_dcs.visual.curves import curve_figures

PLAIN = TrainConfig(epochs=2, warmup_epochs=0, optimizer="sgd", momentum=0, learning_rate=0.1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def step_by_step(engine):
    """The engine's weights after every step of its first epoch, the ones before it first."""
    seen = [weights(engine.model)]
    step = engine.step

    def watched(turn):
        step(turn)
        seen.append(weights(engine.model))

    engine.step = watched
    engine.max_epoch = 1
    engine.train()
    return seen


def test_the_last_step_of_an_epoch_takes_the_mean_of_fewer_batches(monkeypatch):
    """Four batches, three a step: the last step is that of the fourth batch alone."""
    norms = {}
    for accumulate in (1, 3):
        engine = make_engine(replace(PLAIN, accumulate=accumulate))
        engine.optimizers["weights"][0].param_groups[0]["lr"] = 0.0  # all at the same weights
        monkeypatch.setattr(engine.model.drop, "p", 0.0)
        seen = norms.setdefault(accumulate, [])
        step = engine.step

        def noted(turn, engine=engine, step=step, seen=seen):
            gradients = [p.grad for p in engine.model.parameters() if p.grad is not None]
            seen.append(torch.nn.utils.get_total_norm(gradients).item())
            step(turn)

        engine.step = noted
        engine.train()
    assert (len(norms[1]), len(norms[3])) == (4, 2)
    assert norms[3][1] == pytest.approx(norms[1][3], rel=1e-4)


def test_a_step_takes_the_mean_gradient_of_the_batches_it_accumulates():
    engine = make_engine(replace(PLAIN, accumulate=2))
    engine.model.drop.p = 0.0
    model, criterion = copy.deepcopy(engine.model), engine.criterion
    batches = list(engine.train_loader)
    seen = step_by_step(engine)
    assert len(batches) == 4 and len(seen) == 3
    for first in (0, 2):
        model.zero_grad()
        for batch in batches[first : first + 2]:
            logits, features = model.train()(batch["img"])
            labels = criterion(logits, features, batch["pid"]).total
            partners = criterion(logits, features, batch["partner"]).total
            ((batch["weight"] * labels + (1 - batch["weight"]) * partners) / 2).backward()
        rate = 0.1 if first == 0 else 0.1 * (1 + torch.cos(torch.tensor(torch.pi / 4))) / 2
        for p in model.parameters():
            if p.grad is not None:
                p.data -= rate * (p.grad + PLAIN.weight_decay * p.data)
        torch.testing.assert_close(weights(model), seen[1 + first // 2])


def test_clipping_bounds_the_gradient():
    recipe = replace(PLAIN, weight_decay=0, schedule="step")
    lengths = {}
    for norm in (0.0, 0.01):
        seen = step_by_step(make_engine(replace(recipe, clip_norm=norm)))
        lengths[norm] = [(b - a).norm() for a, b in zip(seen[:-1], seen[1:], strict=True)]
    assert min(lengths[0.0]) > 0.002
    torch.testing.assert_close(torch.stack(lengths[0.01]), torch.full((4,), 0.001))


def test_the_average_is_that_of_the_weights_after_each_step():
    engine = make_engine(replace(PLAIN, ema=0.8))
    seen = step_by_step(engine)
    average = seen[1]  # the first step's weights begin it
    for step in seen[2:]:
        average = 0.8 * average + 0.2 * step
    torch.testing.assert_close(weights(engine.evaluated_model), average)
    assert engine.evaluated_model is not engine.model


def test_a_frozen_trunk_stands_still_and_then_moves():
    engine = make_engine(replace(PLAIN, frozen_epochs=1))
    engine.max_epoch = 2
    before = copy.deepcopy(engine.model.state_dict())
    engine.train()
    after = copy.deepcopy(engine.model.state_dict())
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert "classifier.weight" in moved and not any(key.startswith("trunk") for key in moved)
    engine.epoch = 1
    engine.train()
    free = engine.model.state_dict()
    for key in ("trunk.0.weight", "trunk.1.running_mean", "classifier.weight"):
        assert not torch.equal(after[key], free[key])
    assert not engine.model.neck.bias.requires_grad  # as before


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    recipe = replace(PLAIN, learning_rate=1e37)
    with pytest.raises(InputError) as caught:
        run_to_the_end(tmp_path, recipe)
    message = str(caught.value)
    assert "not finite in epoch 1/2, batch 2/4" in message and "lower the learning rate" in message
    engine = make_engine(recipe)
    second = list(engine.train_loader)[1]["impath"]
    assert all(name in message for name in second)
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize(
    "place, error, raised",
    [
        ("SummaryWriter.add_scalar", OSError(28, "No space left"), InputError),
        ("SummaryWriter.close", OSError(28, "No space left"), InputError),
        ("Progress.line", BrokenPipeError(), BrokenPipeError),
        ("Progress.line", FileNotFoundError(2, "No such file", "7.jpg"), FileNotFoundError),
    ],
)
def test_a_full_disk_is_told_from_other_errors(tmp_path, monkeypatch, place, error, raised):
    def fails(*_, **__):
        raise error

    module = "events" if "Writer" in place else "progress"
    monkeypatch.setattr(f"reid_dcs.engine.{module}.{place}", fails)
    with pytest.raises(raised) as caught:
        run_to_the_end(tmp_path, PLAIN)
    if raised is InputError:
        assert str(caught.value) == f"cannot write to {tmp_path}: No space left"


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_less_precision_trains_nearly_the_same(tmp_path, monkeypatch, name):
    monkeypatch.setattr(precision_module, "_best", lambda device: name)
    full = run_to_the_end(tmp_path / "full", precision=Precision("float32", CPU))
    half = run_to_the_end(tmp_path / "half", precision=Precision("auto", CPU))
    assert all(value.dtype != getattr(torch, name) for value in half.values())
    for key, value in full.items():
        torch.testing.assert_close(half[key], value, rtol=0.1, atol=0.05)
    saved = torch.load(tmp_path / "half/checkpoint.pt", weights_only=True)["scaler"]
    assert (saved["scale"] > 1) if name == "float16" else not saved


def test_a_cpu_without_units_for_bfloat16_never_uses_it(monkeypatch):
    monkeypatch.setattr(precision_module, "_cpu_has_bfloat16", lambda: False)
    assert Precision("auto", CPU).name == "float32"
    for name in ("bfloat16", "float16"):
        with pytest.raises(InputError, match=f"precision={name}: this CPU has no native"):
            Precision(name, CPU)


class CenteredLosses(NamedTuple):
    total: torch.Tensor
    center: torch.Tensor


class CentreLoss(torch.nn.Module):
    def forward(self, logits, features, pids):
        center = features.square().mean()
        return CenteredLosses(F.cross_entropy(logits, pids) + center, center)


def test_another_criterions_losses_are_printed_recorded_and_drawn(tmp_path, capsys, monkeypatch):
    engine = make_engine()
    engine.criterion = CentreLoss()
    engine.run(tmp_path, 1)
    entry = engine.history[0]
    assert f"total {entry['total']:#.4g}  center {entry['center']:#.4g}" in capsys.readouterr().out
    drawn = []
    monkeypatch.setattr(Axes, "plot", lambda axes, *values, label, **how: drawn.append(label))
    curve_figures(engine.history)
    assert drawn[:2] == ["total", "center"] and "accuracy in training" in drawn[2:]


def test_history_holds_means_and_evaluations(tmp_path):
    engine = make_engine()
    result = engine.run(tmp_path, RECIPE.epochs, eval_freq=2)
    assert [("mAP" in entry) for entry in engine.history] == [False, True, True]
    assert engine.history[-1]["mAP"] == result.mAP
    for entry in engine.history:
        assert entry["total"] == pytest.approx(entry["identity"] + entry["triplet"])
        assert 0 <= entry["accuracy"] <= 1 and entry["images_s"] > 0
