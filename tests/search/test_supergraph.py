"""A supergraph is one network of the models' contract, and masks what it drops."""

import copy

import pytest
import torch
from helpers.small_supergraph import CLASSES, KINDS, SMALL, images, random_supergraph
from torch.autograd.graph import saved_tensors_hooks

import reid_dcs
from reid_dcs.attention import GSA
from reid_dcs.models.backbones.bottleneck import Bottleneck
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.registry import attention_factory
from reid_dcs.models.space import Space
from reid_dcs.search import ReIDSupergraph, build_supergraph, expected_macs, search_parameters
from reid_dcs.search.masks import Choice
from reid_dcs.search.supergraph import masked_bottleneck

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_the_contract_of_models(kind):
    x = images()
    network = ReIDSupergraph(SMALL, kind, CLASSES).train()
    logits, features = network(x)
    assert (logits.shape, features.shape) == ((4, CLASSES), (4, 64))
    assert network.eval()(x).shape == (4, 64)
    assert network(x, return_featuremaps=True).shape == (4, 64, 4, 2)
    assert ReIDSupergraph(SMALL, kind, CLASSES, loss="softmax").train()(x).shape == (4, CLASSES)


@kinds
def test_backward_reaches_every_parameter(kind):
    network = random_supergraph(kind).train()
    logits, features = network(images())
    generator = torch.Generator().manual_seed(1)
    loss = sum((t * torch.randn(t.shape, generator=generator)).sum() for t in (logits, features))
    loss.backward()
    trained = {n: p.grad for n, p in network.named_parameters() if p.requires_grad}
    assert [n for n, g in trained.items() if g is None or not g.isfinite().all()] == []
    assert [n for n, g in trained.items() if g.count_nonzero() == 0] == []


def test_training_draws_and_evaluation_does_not():
    network = random_supergraph("dcs")
    with torch.no_grad():
        assert torch.equal(network(images()), network(images()))
        network.train()
        assert not torch.equal(network(images())[1], network(images())[1])


@pytest.mark.parametrize("outputs", [12, 24, 28])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_masked_bottleneck_as_masks_on_whole_maps(outputs, stride):
    torch.manual_seed(0)
    block = Bottleneck(24, 42, outputs, stride).double().eval()
    torch.nn.init.normal_(block.norm.bias)
    x = torch.randn(2, 24, 8, 6).double()
    hidden, mask = torch.rand(42).double(), torch.rand(outputs).double()
    maps = block.depthwise(block.expand(x)) * hidden[None, :, None, None]
    expected = block.norm(block.project(maps))
    if stride == 1:
        common = min(24, outputs)
        expected[:, :common] += x[:, :common]
    expected = expected * mask[None, :, None, None]
    found = masked_bottleneck(block, x, hidden, mask)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@kinds
def test_dropped_channels_are_zero_in_every_map(kind):
    """After each block and each attention, exactly, whatever the BN's biases."""
    network = random_supergraph(kind)
    widths = iter(network.architecture().widths)
    seen = []
    for stage in network.trunk.stages:
        for block in stage:
            hook = block.expand.register_forward_pre_hook
            hook(lambda module, inputs: seen.append(inputs[0]))
    network.trunk.last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(images())
    assert len(seen) == 10
    for x, width in zip(seen[1:], widths, strict=True):
        assert x[:, width:].count_nonzero() == 0
        assert x[:, :width].flatten(2).abs().amax((0, 2)).count_nonzero() == width


def test_one_temperature_for_all_draws():
    network = ReIDSupergraph(SMALL, "gsa", CLASSES)
    network.temperature = 0.25
    drawn = [m for m in network.modules() if isinstance(m, Choice | GSA)]
    assert len(drawn) == 3 + 1 + 2 * 9
    assert {m.temperature for m in drawn} == {network.temperature} == {0.25}
    with pytest.raises(ValueError, match="temperature.*-1"):
        network.temperature = -1


def test_a_supergraph_can_be_copied_after_a_step():
    network = random_supergraph("dcs").train()
    network(images())[1].sum().backward()
    torch.manual_seed(0)
    expected = network(images())[1]
    torch.manual_seed(0)
    torch.testing.assert_close(copy.deepcopy(network)(images())[1], expected)


def kept_bytes(network, x) -> int:
    """What a forward pass keeps for the backward pass, each storage once."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(
    "space", ["fbnetv2", pytest.param("fbnetv2_xlarge", marks=pytest.mark.slow)]
)
def test_a_step_keeps_little_more_than_the_largest_subgraphs(space):
    x = images(2, 128, 64)
    kept = kept_bytes(build_supergraph(f"{space}_dcs", CLASSES).train(), x)
    largest = kept_bytes(reid_dcs.build_model(f"{space}_dcs", CLASSES).train(), x)
    assert largest < kept < 1.3 * largest


@pytest.mark.parametrize(
    "space",
    [
        "fbnetv2",
        *(pytest.param(f"fbnetv2_{n}", marks=pytest.mark.slow) for n in ("large", "xlarge")),
    ],
)
def test_a_full_space_takes_a_step(space):
    torch.manual_seed(0)
    network = build_supergraph(f"{space}_dcs", CLASSES).train()
    network.temperature = 5.0
    parameters = search_parameters(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    before = [p.detach().clone() for p in parameters.logits]
    logits, features = network(images())
    loss = logits.logsumexp(1).sum() + features.std() + expected_macs(network) / 1e9
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(not torch.equal(p, q) for p, q in zip(before, parameters.logits, strict=True))


def test_names_and_options():
    network = build_supergraph("fbnetv2_dcs", CLASSES, windows=3)
    assert network.trunk.attentions[0].select.out_channels == 6
    plain = FBNetV2(attention_factory("dcs", windows=3), network.space)
    searched = network.trunk.state_dict()
    assert all(searched[k].shape == v.shape for k, v in plain.state_dict().items())
    for name, options, expected in (
        ("fbnetv2_dsc", {}, "fbnetv2_dcs"),
        ("mobilenetv2_dcs", {}, "no supergraph of 'mobilenetv2_dcs'"),
        ("fbnetv2_dcs", {"depth": 3}, "depth"),
        ("fbnetv2_dcs", {"windows": 0}, "windows"),
        ("fbnetv2_base", {"windows": 1}, "windows"),
        ("fbnetv2_dcs", {"loss": "center"}, "center"),
    ):
        with pytest.raises(reid_dcs.InputError, match=expected):
            build_supergraph(name, CLASSES, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "training", [pytest.param(True, marks=pytest.mark.release), pytest.param(False)]
)
def test_compiled_whole_it_gives_the_same(training):
    two_stages = Space("two stages", SMALL.rows[:3], last=24)
    network = random_supergraph("dcs", space=two_stages).double().train(training)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.manual_seed(3)
    expected = network(images().double())
    torch.manual_seed(3)
    found = compiled(images().double())
    torch.compiler.reset()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("option", ["last_stride", "architecture", "widnows"])
def test_what_is_no_option_of_a_search_is_named(option):
    with pytest.raises(reid_dcs.InputError, match=f"fbnetv2_dcs: unknown option '{option}'"):
        build_supergraph("fbnetv2_dcs", 2, **{option: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"task": "detection"}, "task must be"), ({"space": 1}, "unknown option 'space'")],
)
def test_what_a_supergraph_does_not_know_is_refused(options, message):
    with pytest.raises(reid_dcs.InputError, match=message):
        build_supergraph("fbnetv2_dcs", CLASSES, **options)
