"""The blocks where networks are trained and shipped: half precision, compilers, ONNX."""

import pytest
import torch
from helpers.attention_kinds import READINGS, every_reading, reading_id
from torch import Tensor

from reid_dcs.attention import build_attention, windowed_query
from reid_dcs.attention.query import DEFAULT_MODE, MODES
from reid_dcs.inference.onnx import OnnxNetwork, onnx_graph

slow = pytest.mark.slow
at_release = (slow, pytest.mark.release)
SIZE = (2, 12, 6, 5)


@pytest.fixture(autouse=True)
def forget_compilations():
    """Each test compiles the same code anew: Dynamo counts that against a limit."""
    yield
    torch.compiler.reset()


def feature_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def active_block(kind: str, channels: int, **options):
    torch.manual_seed(0)
    return build_attention(kind, channels, zero_init=False, **options)


def outcome(block, function, x: Tensor) -> list[Tensor]:
    """Output, and the gradients of x and of every parameter."""
    x = x.clone().requires_grad_()
    parameters = list(block.parameters())
    torch.manual_seed(1)  # of the Gumbel noise
    output = function(x)
    probe = feature_map(*output.shape, seed=2)
    gradients = torch.autograd.grad((output * probe).sum(), [x, *parameters], allow_unused=True)
    return [output, *(gradient for gradient in gradients if gradient is not None)]


@every_reading
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_large_map_with_a_large_mean_is_safe_in_every_precision(kind, options, dtype):
    """128 x 64 positions of mean 4: a sum over positions before the division passes 65504.

    The weights of a softmax sum to 1, and it takes N x N of them: a smaller map will do.
    """
    block = active_block(kind, 8, **options).eval()
    if kind == "dcs_mask":
        block.select.bias.data += 50  # no logit is near 0, where rounding decides what is selected
    size = (32, 32) if options.get("normalization") == "softmax" else (128, 64)
    x = (feature_map(1, 8, *size) + 4).to(dtype)
    reference = block.double()(x.double())
    output = block.to(dtype)(x)
    assert output.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.03
    error = (output.double() - reference).abs().max() / reference.abs().max()
    assert error < tolerance


@every_reading
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_stays_near_float32(kind, options, dtype):
    block = active_block(kind, 8, **options).eval()
    x = feature_map(2, 8, 32, 16)
    expected = block(x)
    with torch.autocast("cpu", dtype):
        output = block(x)
    assert (output - expected).square().mean() < 1e-3 * expected.square().mean()


def default(kind: str, options: dict[str, str]) -> bool:
    return kind == "dcs_mask" or options["mode"] == DEFAULT_MODE


def marks_of(is_dcs: bool, is_default: bool) -> tuple[pytest.MarkDecorator, ...]:
    return {2: (), 1: (slow,), 0: at_release}[is_dcs + is_default]


default_readings_first = pytest.mark.parametrize(
    ("kind", "options"),
    [pytest.param(k, o, marks=marks_of(k == "dcs", default(k, o))) for k, o in READINGS],
    ids=reading_id,
)
"""The default reading of dcs; other kinds and other readings are slow, both for a release."""


@slow
@default_readings_first
@pytest.mark.parametrize(
    ("union", "training"),
    [
        pytest.param("max", True, id="train"),
        pytest.param("max", False, id="eval", marks=at_release),
        pytest.param("sum", True, id="sum", marks=at_release),
    ],
)
def test_the_whole_block_is_one_graph(kind, options, union, training):
    """Dynamo takes forward and backward whole; the same output and gradients."""
    if "mode" in options:
        options = options | {"union": union}
    block = active_block(kind, SIZE[1], **options).train(training)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    x = feature_map(*SIZE)
    with torch.random.fork_rng():
        ours, expected = (outcome(block, f, x) for f in (compiled, block))
    for value, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-5, atol=1e-5)


@slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(k, o, marks=() if k == "dcs" and default(k, o) else pytest.mark.release)
        for k, o in READINGS
    ],
    ids=reading_id,
)
def test_compiled_code_gives_the_same(kind, options):
    block = active_block(kind, SIZE[1], **options).eval()
    # torch 2.14's compiler fails on dynamic shapes of these products; later ones take both at once
    dynamic = None if torch.__version__ >= "2.15" else False
    compiled = torch.compile(block, fullgraph=True, dynamic=dynamic)
    for shape in (SIZE, (3, 12, 8, 4)):
        x = feature_map(*shape)
        for value, reference in zip(
            outcome(block, compiled, x), outcome(block, block, x), strict=True
        ):
            torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), block(x), rtol=1e-5, atol=1e-5)


@slow
@default_readings_first
def test_onnx_gives_the_same(kind, options):
    pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    block = active_block(kind, SIZE[1], **options).eval()
    x = feature_map(*SIZE)
    exported = OnnxNetwork(onnx_graph(block, x))
    for images in (x, feature_map(5, *SIZE[1:], seed=1)):
        with torch.no_grad():
            torch.testing.assert_close(exported(images), block(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [320, 2048])
def test_windows_of_gsa_are_the_same_in_bfloat16(channels):
    """Which counts channels above 256 in twos, and those above 1024 in eights."""
    block = active_block("gsa", channels)
    expected = block.masks()
    assert torch.equal(block.bfloat16().masks().float(), expected)


@pytest.mark.parametrize("mode", MODES)
def test_windows_in_bfloat16_select_their_channels(mode):
    start, length = (torch.tensor([v], dtype=torch.bfloat16) for v in (300.0, 8.0))
    query = windowed_query(torch.ones(1, 1, 320), start, length, mode=mode)
    assert query[0, 0].nonzero().flatten().tolist() == [*range(300, 308)]


def test_windows_of_large_features_in_float16_are_near_those_in_float32():
    """A sum over 2048 channels passes 65504; divided by the norm it is small."""
    block = active_block("dcs", 2048).eval()
    x = 8 * feature_map(1, 2048, 4, 2).relu()
    expected = block.windows(x)
    for found, window in zip(block.half().windows(x.half()), expected, strict=True):
        torch.testing.assert_close(found, window, rtol=0, atol=4)


def test_annealed_edges_and_temperatures_are_not_compiled_in():
    """Or each batch of a search would compile its network anew, up to a limit."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    for kind, attribute in (
        ("dcs", "softness"),
        ("gsa", "temperature"),
        ("dcs_mask", "temperature"),
    ):
        block, x = active_block(kind, SIZE[1]).train(), feature_map(*SIZE)
        compiled = torch.compile(block, backend=backend)
        graphs.clear()
        for step in range(6):
            setattr(block, attribute, 2 / (1 + step))
            compiled(x)
        assert len(graphs) <= 3
