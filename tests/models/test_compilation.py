"""A network compiled by PyTorch returns what it returns uncompiled."""

import pytest
import torch
from helpers.networks import (
    CLASSES,
    active_model,
    assert_same_features,
    images,
    one_model_slow,
    settle,
)
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def forget_compilations():
    """Dynamo limits how often the same code is recompiled; each test does so."""
    yield
    torch.compiler.reset()


@one_model_slow
def test_in_evaluation(name):
    """Traced as one graph, without breaks."""
    model = settle(active_model(name))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert_same_features(compiled(images()), model(images()), 1e-3)


@one_model_slow
def test_in_training(name):
    """The same logits and gradients, in double precision: untrained networks amplify rounding."""
    model = active_model(name).double().train()
    expected = step(model, model)
    found = step(model, torch.compile(model, backend="aot_eager", fullgraph=True))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-9, msg=key)


def step(model: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Logits and gradients of one training step of the model or of its compiled form."""
    model.zero_grad()
    torch.manual_seed(1)  # the same draw of a Gumbel softmax
    logits, features = network(images().double())
    loss = nn.functional.cross_entropy(logits, torch.arange(4) % CLASSES) + features.std()
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return gradients | {"logits": logits.detach()}


@pytest.mark.slow
def test_to_machine_code():
    model = settle(active_model("mobilenetv2_dcs"))
    with torch.no_grad():
        assert_same_features(torch.compile(model)(images()), model(images()), 1e-3)
