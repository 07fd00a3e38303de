"""Compiled by PyTorch or exported to ONNX, a network gives what it gives without."""

import pytest
import torch
from networks import CLASSES, active_model, images, quick, settle
from torch import Tensor, nn
from torch.export import Dim

import reid_dcs

FASTEST = "mobilenetv2_dcs"


def over(names: list[str]):
    slow = [pytest.param(n, marks=() if n == FASTEST else pytest.mark.slow) for n in names]
    return pytest.mark.parametrize("name", slow)


every_model = over(reid_dcs.list_models())


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def assert_same_features(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max()
    assert expected.std(0).mean() > 0.01 * scale  # they follow the image
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-3)


@every_model
def test_compiled_in_evaluation(name):
    """Traced whole, without a graph break."""
    model = settle(active_model(name))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert_same_features(compiled(images()), model(images()))


@pytest.mark.slow
@over([name for name in reid_dcs.list_models() if quick(name)])
def test_compiled_in_training(name):
    """The same logits and gradients, in double precision: untrained networks amplify rounding."""
    model = active_model(name).double().train()
    expected = _step(model, model)
    found = _step(model, torch.compile(model, backend="aot_eager", fullgraph=True))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-9, msg=key)


def _step(model: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Logits, and the model's gradients, of one training step of a form of the model."""
    model.zero_grad()
    torch.manual_seed(1)  # the same draw of a Gumbel softmax
    logits, features = network(images().double())
    loss = nn.functional.cross_entropy(logits, torch.arange(4) % CLASSES) + features.std()
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return gradients | {"logits": logits.detach()}


@pytest.mark.slow
def test_compiled_to_machine_code():
    model = settle(active_model(FASTEST))
    with torch.no_grad():
        assert_same_features(torch.compile(model)(images()), model(images()))


@every_model
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_exported_to_onnx(name, tmp_path):
    """For any number of images."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install -e '.[export]'")
    model = settle(active_model(name))
    exported = torch.onnx.export(
        model, (images(2),), dynamo=True, dynamic_shapes=({0: Dim("batch")},), verbose=False
    )
    exported.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,) = session.get_inputs()
    for count in (3, 5):
        (found,) = session.run(None, {given.name: images(count).numpy()})
        with torch.no_grad():
            assert_same_features(torch.from_numpy(found), model(images(count)))
