"""Algorithm 1 as a policy of a trainer whose task is not Re-ID."""

import math

import pytest
import torch
from torch import nn

from reid_dcs import InputError
from reid_dcs.attention import build_attention
from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.engine import Trainer
from reid_dcs.search import Alternation

BATCHES, EPOCHS = 5, 2


class Brightness:
    """Predict the mean of an image: losses with names of their own, batches that are tuples."""

    def __init__(self, kind):
        torch.manual_seed(0)
        attention = build_attention(kind, 8, zero_init=False)
        self.model = nn.Sequential(nn.Conv2d(1, 8, 3, 2, padding=1), attention, nn.Conv2d(8, 1, 1))
        random = torch.Generator().manual_seed(0)
        images = torch.randn(BATCHES, 4, 1, 8, 8, generator=random)
        self.batches = [(batch, batch.mean((2, 3))) for batch in images]

    def losses(self, batch):
        images, means = batch
        error = self.model(images).mean((2, 3)) - means
        return {"squared": error.square().mean(), "absolute": error.abs().mean()}

    def evaluate(self, model):
        return {}


def make_trainer(kind, penalty=None, accumulate=1, **options):
    task = Brightness(kind)
    search = SearchConfig(
        epochs=EPOCHS,
        window_share=0.4,
        weight_optimizer=OptimizerConfig("sgd", 0.01, weight_decay=0.1, warmup_epochs=0),
        window_optimizer=OptimizerConfig("sgd", 0.5, weight_decay=0, warmup_epochs=0),
        temperature=4.0,
        temperature_decay=0.5,
        **options,
    )
    policy = Alternation(task.model, search, BATCHES, penalty, accumulate=accumulate)
    return Trainer(
        task, task.model, task.batches, policy.optimizers, policy=policy, accumulate=accumulate
    )


def moved_by_batch(trainer, folder):
    """Names of the parameters that each batch moved."""
    seen, forward_backward = [], trainer.forward_backward

    def watched(batch):
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        losses = forward_backward(batch)
        after = dict(trainer.model.named_parameters())
        seen.append({name for name in after if not torch.equal(after[name], before[name])})
        return losses

    trainer.forward_backward = watched
    trainer.run(folder, EPOCHS)
    return seen


def test_weights_then_windows_step_in_each_epoch(tmp_path):
    trainer = make_trainer("dcs")
    windows = {"1.select.weight", "1.select.bias"}
    weights = {name for name, _ in trainer.model.named_parameters()} - windows
    moved = moved_by_batch(trainer, tmp_path)
    assert moved == EPOCHS * (3 * [weights] + 2 * [windows])


def test_a_step_over_two_batches_is_of_weights_or_of_windows(tmp_path):
    """Three steps an epoch, of two, two and one batches; 0.4 of them is one step of the windows."""
    trainer = make_trainer("dcs", accumulate=2)
    windows = {"1.select.weight", "1.select.bias"}
    weights = {name for name, _ in trainer.model.named_parameters()} - windows
    assert moved_by_batch(trainer, tmp_path) == EPOCHS * [set(), weights, set(), weights, windows]
    scheduled = {name: rates.last_epoch for name, (_, rates) in trainer.optimizers.items()}
    assert scheduled == {"weights": 2 * EPOCHS, "windows": EPOCHS}
    assert all(rates.get_last_lr()[0] < 1e-6 for _, rates in trainer.optimizers.values())


def test_logits_of_a_gumbel_softmax_have_their_optimizer_and_temperature(tmp_path):
    trainer = make_trainer("gsa")
    assert set(trainer.optimizers) == {"weights", "logits"}
    assert moved_by_batch(trainer, tmp_path)[-1] == {"1.logits"}
    assert trainer.model[1].temperature == 2.0  # of the second epoch


@pytest.mark.parametrize("kind", ["dcs", "dcs_sw"])
def test_separate_steps_move_starts_and_then_lengths_by_a_fresh_loss(kind, tmp_path):
    """Algorithm 1 as printed, against the same in a loop."""
    trainer, naive = make_trainer(kind, window_steps="separate"), make_trainer(kind)
    trainer.run(tmp_path, 1)

    model, task, momentum = naive.model.train(), naive.task, {}
    optimizer, scheduler = naive.optimizers["weights"]
    for number, batch in enumerate(task.batches):
        if number < 3:
            optimizer.zero_grad()
            task.losses(batch)["squared"].backward()
            optimizer.step()
            scheduler.step()
            continue
        for part in ("start", "length"):
            model.zero_grad()
            task.losses(batch)["squared"].backward()
            for parameter, rows in rows_of(model[1], part):
                buffer = momentum.setdefault((parameter, part), torch.zeros_like(parameter[rows]))
                buffer.mul_(0.9).add_(parameter.grad[rows])
                rate = 0.5 if number == 3 else RATE_OF_THE_SECOND_STEP
                with torch.no_grad():
                    parameter[rows] -= rate * buffer
    for name, value in naive.model.state_dict().items():
        found = trainer.model.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6, msg=name)


RATE_OF_THE_SECOND_STEP = 0.5 * (1 + math.cos(math.pi / 4)) / 2  # cosine over two epochs of two


def rows_of(block, part):
    """Parameters of the starts or the lengths of a block's windows."""
    if hasattr(block, "select"):
        half = slice(0, 2) if part == "start" else slice(2, 4)
        return [(block.select.weight, half), (block.select.bias, half)]
    return [(block.start_logit if part == "start" else block.length_logit, slice(None))]


@pytest.mark.parametrize("part", ["start", "length"])
@pytest.mark.parametrize("kind", ["dcs", "dcs_sw"])
def test_a_fixed_part_has_a_gradient_of_zero(kind, part):
    """Several processes wait for a gradient of every parameter."""
    torch.manual_seed(0)
    block = build_attention(kind, 12, zero_init=False)
    block.fixed = part
    block(torch.randn(2, 12, 6, 5)).square().mean().backward()
    for each in ("start", "length"):
        for parameter, rows in rows_of(block, each):
            assert bool(parameter.grad[rows].count_nonzero()) == (each != part)


def test_separate_steps_take_two_passes_of_a_windows_batch(tmp_path):
    trainer = make_trainer("dcs", window_steps="separate")
    assert set(trainer.optimizers) == {"weights", "starts", "lengths"}
    turns = [trainer.policy.turns(batch, list(trainer.optimizers)) for batch in range(BATCHES)]
    assert turns == [[("weights",)]] * 3 + [[["starts"], ["lengths"]]] * 2


@pytest.mark.parametrize("kind", ["dcs_pos", "dcs_dim"])
def test_windows_with_one_learned_part_step_once(kind):
    trainer = make_trainer(kind, window_steps="separate")
    assert set(trainer.optimizers) == {"weights", "windows"}


def test_separate_steps_refuse_weight_decay_of_windows():
    task = Brightness("dcs")
    decaying = OptimizerConfig("sgd", 0.5, weight_decay=0.1, warmup_epochs=0)
    search = SearchConfig(window_steps="separate", window_optimizer=decaying)
    with pytest.raises(InputError, match="window_optimizer.weight_decay=0"):
        Alternation(task.model, search, BATCHES)


@pytest.mark.parametrize(
    "setting",
    [{"window_softness": 0.125}, {"window_unit": "block"}, {"window_steps": "separate"}],
)
def test_settings_of_learned_windows_are_refused_where_there_are_none(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"search.{name}: the network has no learned windows"):
        Alternation(Brightness("gsa").model, SearchConfig(**setting), BATCHES)


def test_a_control_trains_its_weights_on_the_same_batches(tmp_path):
    task = Brightness("sa")
    search = SearchConfig(epochs=EPOCHS, window_share=0.4, target_share=0.5)
    with pytest.raises(InputError, match="nothing to search"):
        Alternation(task.model, search, BATCHES)
    policy = Alternation(task.model, search, BATCHES, control=True)
    trainer = Trainer(task, task.model, task.batches, policy.optimizers, policy=policy)
    weights = {name for name, _ in trainer.model.named_parameters()}
    assert moved_by_batch(trainer, tmp_path) == EPOCHS * (3 * [weights] + 2 * [set()])


def test_a_penalty_is_recorded_under_its_name_beside_the_tasks_losses(tmp_path):
    plain, penalized = make_trainer("dcs_sw"), make_trainer("dcs_sw")
    length = penalized.model[1].length_logit
    penalized.policy.penalty = lambda: 10 * length.sigmoid().sum()
    for trainer in (plain, penalized):
        trainer.run(tmp_path, EPOCHS)
    assert {"squared", "absolute", "penalty"} <= set(penalized.history[0])
    assert length < plain.model[1].length_logit - 0.5


def test_a_search_is_resumed_with_all_its_optimizers(tmp_path):
    whole, first, again = (make_trainer("dcs") for _ in range(3))
    whole.run(tmp_path / "whole", EPOCHS)
    first.run(tmp_path / "halves", 1)
    again.load_state_dict(torch.load(tmp_path / "halves/checkpoint.pt", weights_only=True))
    again.run(tmp_path / "halves", EPOCHS)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_soft_edges_are_annealed_and_hard_in_the_end(tmp_path):
    trainer = make_trainer("dcs", window_softness=0.25)
    block, softness = trainer.model[1], []
    forward_backward = trainer.forward_backward

    def watched(batch):
        softness.append(block.softness)
        return forward_backward(batch)

    trainer.forward_backward = watched
    trainer.run(tmp_path, EPOCHS)
    assert len(softness) == EPOCHS * BATCHES and softness[-1] == block.softness == 0
    soft = torch.tensor(softness[:-1]).log()
    assert soft[0] < torch.tensor(0.25 * 8).log()
    torch.testing.assert_close(soft.diff(), soft.diff()[:1].expand(len(soft) - 1))  # exponential


def test_a_target_share_pulls_the_windows_towards_it(tmp_path):
    shares = {}
    for target in (0.0, 0.25):
        trainer = make_trainer("dcs", target_share=target)
        trainer.run(tmp_path / str(target), EPOCHS)
        images, _ = trainer.task.batches[0]
        block, features = trainer.model[1], trainer.model[0](images)
        shares[target] = block.report(features).selected.mean()
        assert ("share_penalty" in trainer.history[-1]) == bool(target)
    assert 0.25 < shares[0.25] < shares[0.0] - 0.01


def test_a_target_share_needs_learned_windows():
    with pytest.raises(InputError, match="search.target_share"):
        make_trainer("gsa", target_share=0.5)


@pytest.mark.parametrize("optimizer, power", [("adam", 1), ("sgd", 2)])
def test_a_rate_in_blocks_moves_windows_by_the_same_share(optimizer, power):
    """One step of a window that is a parameter, at the same gradient with respect to its share."""
    moved = {}
    for channels in (8, 64):
        model = build_attention("dcs_sw", channels)
        recipe = OptimizerConfig(optimizer, 0.01, weight_decay=0, warmup_epochs=0)
        search = SearchConfig(window_unit="block", window_optimizer=recipe)
        policy = Alternation(model, search, BATCHES)
        (windows, _), logit = policy.optimizers["windows"], model.start_logit
        assert [group["lr"] for group in windows.param_groups] == [0.01 * channels**power]
        logit.grad = torch.full_like(logit, 0.5 / channels)
        windows.step()
        moved[channels] = logit.item() / channels
    assert moved[8] == pytest.approx(moved[64], rel=1e-4)


def test_a_rate_in_blocks_is_refused_for_windows_in_logits():
    """A rate of C or C^2 on a logit would move it to an end of its range in one step."""
    model = build_attention("dcs", 64, bounds="sigmoid")
    with pytest.raises(InputError, match="window_unit=block: .*bounds=sigmoid"):
        Alternation(model, SearchConfig(window_unit="block"), BATCHES)
    Alternation(model, SearchConfig(window_unit="channel"), BATCHES)


def test_masks_beside_windows_have_an_optimizer_whatever_the_unit_of_rates():
    model = nn.Sequential(build_attention("dcs", 8), build_attention("dcs_mask", 8))
    policy = Alternation(model, SearchConfig(window_unit="block"), BATCHES)
    stepped = [
        parameter
        for optimizer, _ in policy.optimizers.values()
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert len(stepped) == len(set(stepped))
    assert set(stepped) == set(model.parameters())


def test_after_separate_steps_all_windows_learn_again(tmp_path):
    trainer = make_trainer("dcs", window_steps="separate")
    trainer.run(tmp_path, EPOCHS)
    assert trainer.model[1].fixed is None
