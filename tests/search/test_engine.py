"""Algorithm 1: whose turn it is, what moves in it, and that nothing else does."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reid_dcs import InputError
from reid_dcs.attention import build_attention
from reid_dcs.config import OptimizerConfig, SearchConfig
from reid_dcs.losses import IdentityTripletLoss
from reid_dcs.search.engine import SearchEngine

BATCHES, SEARCHING = 10, 2
KINDS = ["dcs", "dcs_pos", "dcs_dim", "dcs_sw", "gsa"]


class Network(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        options = {} if kind == "base" else {"zero_init": False}
        self.attention = nn.Identity() if kind == "base" else build_attention(kind, 16, **options)
        self.classifier = nn.Linear(16, 4)

    def forward(self, images):
        pooled = self.attention(self.norm(self.stem(images))).mean((2, 3))
        return (self.classifier(pooled), pooled) if self.training else pooled


class Loader:
    """Fixed batches, as torchreid's."""

    def __init__(self, count):
        random = torch.Generator().manual_seed(0)
        self.batches = [
            {
                "img": torch.randn(8, 3, 16, 8, generator=random),
                "pid": torch.arange(4).repeat_interleave(2),
                "impath": ["x"] * 8,
            }
            for _ in range(count)
        ]

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def make_engine(kind, search=None, batches=BATCHES, **options):
    torch.manual_seed(0)
    manager = SimpleNamespace(use_gpu=False, train_loader=Loader(batches), test_loader={})
    search = search or SearchConfig(epochs=2)
    return SearchEngine(manager, Network(kind), IdentityTripletLoss(), search, **options)


def everything(engine):
    """Parameters by name, and every tensor of every optimizer's state."""
    tensors = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    for turn, (optimizer, _) in engine.optimizers.items():
        names = {id(p): name for name, p in engine.model.named_parameters()}
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{turn}/{names[id(parameter)]}/{key}"] = value.clone()
    return tensors


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_moves_those_whose_turn_it_is_and_nothing_else(kind):
    """Weight decay and the momentum of earlier steps would move the others, if anything did."""
    decayed = {"weight_decay": 0.1, "warmup_epochs": 0}
    search = SearchConfig(
        epochs=2,
        weight_optimizer=OptimizerConfig("sgd", 0.035, **decayed),
        window_optimizer=OptimizerConfig("sgd", 0.3, **decayed),
        logit_optimizer=OptimizerConfig("adam", 0.03, **decayed),
    )
    engine = make_engine(kind, search)
    engine.max_epoch, seen = 2, []
    forward_backward = engine.forward_backward

    def watched(data):
        before = everything(engine)
        named = forward_backward(data)
        after = everything(engine)
        moved = {
            key for key in after if not torch.equal(after[key], before.get(key, torch.empty(0)))
        }
        seen.append((engine.batch_idx, moved))
        return named

    engine.forward_backward = watched
    for engine.epoch in (0, 1):
        engine.train()
    searched = {"select", "start_logit", "length_logit", "logits"}
    assert len(seen) == 2 * BATCHES
    for batch, moved in seen:
        of_windows = {key for key in moved if searched & set(key.replace("/", ".").split("."))}
        if batch < BATCHES - SEARCHING:
            assert moved and not of_windows, (batch, of_windows)
        else:
            assert moved and moved == of_windows, (batch, moved - of_windows)


def test_running_statistics_move_in_both_turns():
    engine = make_engine("dcs")
    engine.max_epoch, seen = 1, []
    forward_backward = engine.forward_backward

    def watched(data):
        before = engine.model.norm.running_mean.clone()
        named = forward_backward(data)
        seen.append(torch.equal(before, engine.model.norm.running_mean))
        return named

    engine.forward_backward = watched
    engine.train()
    assert seen == [False] * BATCHES


@pytest.mark.parametrize("share, searching", [(0.2, 2), (0.5, 5), (0.04, 1), (0.26, 3), (0.9, 9)])
def test_the_last_share_of_an_epoch_is_the_windows(share, searching):
    engine = make_engine("dcs", SearchConfig(window_share=share))
    turns = []
    for engine.batch_idx in range(BATCHES):
        turns += engine.policy.turns(engine.batch_idx, list(engine.optimizers))
    assert turns == [("weights",)] * (BATCHES - searching) + [["windows"]] * searching


def test_each_optimizer_has_its_own_schedule():
    search = SearchConfig(
        epochs=4,
        weight_optimizer=OptimizerConfig(
            "sgd", 0.04, schedule="step", milestones=[2], warmup_epochs=0
        ),
        window_optimizer=OptimizerConfig("sgd", 0.3, warmup_epochs=0),
    )
    engine = make_engine("dcs", search)
    engine.max_epoch = 4
    rates = {"weights": [], "windows": []}
    for engine.epoch in range(4):
        engine.train()
        for name, found in rates.items():
            found.append(engine.optimizers[name][0].param_groups[0]["lr"])
    assert rates["weights"] == pytest.approx([0.04, 0.004, 0.004, 0.004])
    assert rates["windows"] == pytest.approx([0.256066, 0.15, 0.0439340, 0.0], abs=1e-6)


def test_the_temperature_falls_to_its_floor():
    search = SearchConfig(temperature=5.0, temperature_decay=0.5, temperature_floor=0.4)
    engine = make_engine("gsa", search)
    engine.max_epoch, seen = 5, []
    for engine.epoch in range(5):
        engine.train()
        seen.append(engine.model.attention.temperature)
    assert seen == [5.0, 2.5, 1.25, 0.625, 0.4]


def test_a_penalty_counts_in_the_windows_turn_alone():
    engine = make_engine("dcs_sw")
    engine.policy.penalty = lambda: engine.model.attention.length_logit.sum().square()
    plain = make_engine("dcs_sw")
    with torch.no_grad():
        for each in (engine, plain):
            each.model.attention.length_logit.fill_(1.0)
    for each in (engine, plain):
        each.max_epoch = 1
        each.train()
    for name, parameter in engine.model.named_parameters():
        same = torch.equal(parameter, plain.model.get_parameter(name))
        assert same == (name != "attention.length_logit" and name != "attention.start_logit"), name
    assert engine.model.attention.length_logit < plain.model.attention.length_logit - 0.1


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(InputError, match="nothing to search"):
        make_engine("base")
    with pytest.raises(InputError, match="nothing to search"):
        make_engine("sa")
    with pytest.raises(InputError, match="search.window_share=0.2 leaves none of 1 step"):
        make_engine("dcs", batches=1)


def test_a_search_is_taken_up_where_it_was(tmp_path):
    whole = make_engine("dcs")
    whole.max_epoch = 2
    for whole.epoch in (0, 1):
        whole.train()
    first = make_engine("dcs", description={"config": {}})
    first.max_epoch = 2
    first.train()
    first.save_model(1, None, tmp_path)
    again = make_engine("dcs")
    again.max_epoch = 2
    again.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    again.epoch = again.finished
    assert again.epoch == 1
    again.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert copy.deepcopy(again.optimizers["windows"][1].state_dict()) == (
        whole.optimizers["windows"][1].state_dict()
    )
