"""Batch norms of a derived network: the statistics of what it computes, not of mixtures."""

import pytest
import torch
from helpers.small_supergraph import CLASSES, images, random_supergraph
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_dcs.search import derive, recalibrate


def norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@pytest.mark.parametrize("kind", ["base", "dcs", "gsa"])
def test_statistics_are_the_means_over_the_batches(kind):
    """Compared with hooks that note each batch norm's input."""
    network, batches = derive(random_supergraph(kind)), [images(6), images(8)[2:]]
    parameters = [p.clone() for p in network.parameters()]
    seen: dict[nn.Module, list] = {norm: [] for norm in norms(network)}
    for norm, inputs in seen.items():
        norm.register_forward_pre_hook(lambda _, x, inputs=inputs: inputs.append(x[0]))
    assert recalibrate(network, batches) is network
    for norm, inputs in seen.items():
        assert len(inputs) == 2
        each = [x.transpose(0, 1).flatten(1) for x in inputs]  # (C, values)
        mean = torch.stack([x.mean(1) for x in each]).mean(0)
        var = torch.stack([x.var(1) for x in each]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm.running_var, var, rtol=1e-4, atol=1e-4)
        assert norm.momentum == 0.1 or norm.momentum == 1.0  # as before
        assert not norm.training
    assert all(map(torch.equal, parameters, network.parameters()))


@pytest.mark.slow
def test_a_derived_network_classifies_better_with_statistics_of_its_own():
    """A supergraph trained for some steps at a high temperature: before and after."""
    network = random_supergraph("dcs").train()
    for norm in norms(network):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
        norm.momentum = 0.1
    network.temperature = 5.0
    colors = torch.randn(CLASSES, 3, 1, 1, generator=torch.Generator().manual_seed(1))

    def batch(seed: int):
        random = torch.Generator().manual_seed(seed)
        pids = torch.arange(20) % CLASSES
        return colors[pids] + torch.randn(20, 3, 32, 16, generator=random), pids

    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(25):
        x, pids = batch(step)
        loss = nn.functional.cross_entropy(network(x)[0], pids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    derived = derive(network).eval()
    x, pids = batch(1000)

    @torch.no_grad()
    def loss_of(network) -> float:
        return float(nn.functional.cross_entropy(network.classifier(network(x)), pids))

    before = loss_of(derived)
    after = loss_of(recalibrate(derived, (batch(seed)[0] for seed in range(100, 104))))
    print(f"cross-entropy of the derived network: {before:.2f} before, {after:.2f} after")
    assert after < 0.7 * before
