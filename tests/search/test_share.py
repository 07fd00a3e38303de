"""The share of the channels that windows select, and its budget."""

import copy

import pytest
import torch
from helpers.small_supergraph import images, random_supergraph
from torch import Tensor, nn

from reid_dcs.attention import build_attention
from reid_dcs.search import search_parameters
from reid_dcs.search.share import ShareMeter, selected_share, share_penalty


def random_windows(*shape: int, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length, place = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    return channels * (1 - length) * place, channels * length


def covered(start: Tensor, length: Tensor) -> Tensor:
    """The length of a union of intervals: between neighbouring edges it is covered or not."""
    ends = start + length
    edges = sorted([*start, *ends], key=Tensor.item)
    total = torch.zeros((), dtype=start.dtype)
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        middle = (left + right) / 2
        if any(s <= middle <= end for s, end in zip(start, ends, strict=True)):
            total = total + right - left
    return total


@pytest.mark.parametrize("windows", [1, 2, 4])
def test_the_share_is_that_of_the_union_in_loops(windows):
    """Values and gradients."""
    start, length = (v.requires_grad_() for v in random_windows(2, 5, windows, channels=12))
    ours = selected_share(start, length, 12)
    naive = torch.stack(
        [covered(start[b, i], length[b, i]) / 12 for b in range(2) for i in range(5)]
    ).view(2, 5)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)
    probe = torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = (torch.autograd.grad((v * probe).sum(), (start, length)) for v in (ours, naive))
    for gradient, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-12)


def test_equal_windows_count_once_and_the_whole_map_is_1():
    start, length = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([3.0, 3.0, 3.0])
    assert selected_share(start, length, 10).item() == pytest.approx(0.3)
    assert selected_share(torch.zeros(1), torch.tensor([10.0]), 10).item() == 1


def test_the_penalty_is_the_relative_distance_of_the_mean_or_of_each_block():
    shares = {"a": torch.tensor(0.2), "b": torch.tensor(0.8)}
    assert share_penalty(shares, 0.5).item() == pytest.approx(0)
    assert share_penalty(shares, 0.5, per_block=True).item() == pytest.approx(0.6)
    assert share_penalty(shares, 0.25).item() == pytest.approx(1)


@pytest.mark.parametrize("target", [0, -0.5, 1.5])
def test_a_target_out_of_range_is_refused(target):
    with pytest.raises(ValueError, match=f"target_share.*{target}"):
        share_penalty({"a": torch.tensor(0.2)}, target)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), build_attention("dcs", 8), build_attention("sa", 8),
        build_attention("dcs_sw", 8),
    )  # fmt: skip


def test_the_meter_reads_learned_windows_and_changes_nothing():
    measured, plain = network(), network()
    x = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    meter = ShareMeter(measured)
    assert torch.equal(measured(x), plain(x))
    assert list(meter.shares) == ["1", "3"]
    reported = measured[1].report(measured[0](x)).selected.mean()
    torch.testing.assert_close(meter.shares["1"], reported, rtol=0.02, atol=0)
    assert meter.shares["3"].item() == pytest.approx(4.5 / 8)
    before = dict(meter.shares)
    measured.eval()(x)
    assert meter.shares == before  # evaluation is not counted
    meter.close()
    measured.train()(2 * x)
    assert meter.shares == before


@pytest.mark.parametrize("kind", ["dcs", "dcs_sw", "dcs_mask"])
def test_the_meter_reads_the_windows_of_a_supergraph(kind):
    """Their shares are of the channels that its masks keep."""
    supergraph = random_supergraph(kind).train()
    meter = ShareMeter(supergraph)
    supergraph(images())
    assert list(meter.shares) == [f"trunk.attentions.{stage}" for stage in range(3)]
    assert all(0 < share <= 1 for share in meter.shares.values())
    meter.penalty(0.5).backward()
    _, windows, _ = search_parameters(supergraph)
    assert any(parameter.grad.count_nonzero() > 0 for parameter in windows)


@pytest.mark.parametrize("per_block", [False, True])
def test_descent_on_the_penalty_reaches_the_target_by_the_windows_alone(per_block):
    measured = network()
    meter = ShareMeter(measured)
    x = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    searched = [p for b in (1, 3) for n, p in measured[b].named_parameters()
                if not n.startswith(("project", "norm"))]  # fmt: skip
    others = [p for p in measured.parameters() if all(p is not s for s in searched)]
    before = copy.deepcopy([p.detach() for p in others])
    optimizer = torch.optim.SGD(searched, lr=0.2)
    for _ in range(150):
        measured(x)
        penalty = meter.penalty(0.25, per_block)
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
    assert penalty < 0.1
    assert all(p.grad is None for p in others)
    assert all(map(torch.equal, others, before))
