"""Masks against sums over options written out."""

import pytest
import torch
import torch.nn.functional as F

from reid_dcs.models.space import Options
from reid_dcs.search.masks import BottleneckMasks, Choice, Widths, prefix_masks

OPTIONS = Options((0.75, 1.25, 1.75), (12, 20, 28), 1)


def test_prefix_masks():
    assert prefix_masks([1, 3, 2]).tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


def random_choice(count: int) -> Choice:
    torch.manual_seed(count)
    choice = Choice(count)
    torch.nn.init.normal_(choice.logits)
    return choice


def test_a_choice_is_a_gumbel_softmax_in_training_and_the_likeliest_in_evaluation():
    choice = random_choice(6)
    choice.temperature = 0.7
    torch.manual_seed(1)
    drawn = choice.train()()
    torch.manual_seed(1)
    torch.testing.assert_close(drawn, F.gumbel_softmax(choice.logits, tau=0.7))
    assert drawn.sum().item() == pytest.approx(1)
    likeliest = choice.logits.argmax().item()
    assert choice.eval()().tolist() == [float(k == likeliest) for k in range(6)]
    assert choice.likeliest() == likeliest


def test_the_colder_a_choice_the_nearer_to_one_option():
    choice = random_choice(6).train()

    def most(temperature: float) -> float:
        torch.manual_seed(0)
        choice.temperature = temperature
        return torch.stack([choice().max() for _ in range(50)]).mean().item()

    assert most(5.0) < 0.5 < most(1.0) < 0.99 < most(0.01)


def test_probabilities_are_how_often_an_option_is_drawn():
    choice = random_choice(4).train()
    choice.temperature = 0.01
    torch.manual_seed(0)
    winners = torch.stack([choice().argmax() for _ in range(4000)]).bincount(minlength=4) / 4000
    torch.testing.assert_close(winners.double(), choice.probabilities(), rtol=0, atol=0.03)


def test_a_single_option_has_nothing_to_learn():
    choice = Choice(1)
    assert [*choice.parameters()] == [] and choice.state_dict() == {}
    assert choice.train()().tolist() == choice.eval()().tolist() == [1]
    assert choice.probabilities().tolist() == [1] and choice.likeliest() == 0


@pytest.mark.parametrize("training", [True, False])
def test_a_width_is_the_mixture_of_its_options(training):
    widths = Widths([12, 20, 28]).train(training)
    torch.nn.init.normal_(widths.choice.logits)
    drawn = widths()
    chances = drawn.chances.tolist()
    for channel, weight in enumerate(drawn.mask.tolist()):
        kept = zip(chances, (12, 20, 28), strict=True)
        assert weight == pytest.approx(sum(g for g, w in kept if channel < w))
    assert drawn.channels.item() == pytest.approx(
        sum(g * w for g, w in zip(chances, (12, 20, 28), strict=True))
    )


def test_hidden_channels_follow_the_width_of_the_input():
    """Under chances p of the input's widths and q of the expansions: each pair's own prefix."""
    masks = BottleneckMasks((16, 24), OPTIONS).train()
    inputs = torch.tensor([0.3, 0.7])
    torch.manual_seed(2)
    hidden, _ = masks(inputs)
    torch.manual_seed(2)
    rates = masks.expansion().tolist()
    assert hidden.shape == (42,)
    for channel, weight in enumerate(hidden.tolist()):
        expected = sum(
            p * q
            for p, w in zip(inputs.tolist(), (16, 24), strict=True)
            for q, e in zip(rates, OPTIONS.expansions, strict=True)
            if channel < e * w
        )
        assert weight == pytest.approx(expected, abs=1e-6)


def test_masks_keep_their_precision_under_autocast_and_in_half():
    masks = BottleneckMasks((16, 24), OPTIONS).train()
    inputs = torch.tensor([0.3, 0.7])
    torch.manual_seed(2)
    hidden, width = masks(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(2)
        same, same_width = masks(inputs)
    assert torch.equal(hidden, same) and torch.equal(width.channels, same_width.channels)
    assert masks.half().eval()(inputs)[1].channels in (12, 20, 28)
