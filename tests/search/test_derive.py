"""A derived network gives what its supergraph gives, and is what its file says."""

import copy

import pytest
import torch
from helpers.small_supergraph import CLASSES, KINDS, images, random_supergraph

import reid_dcs
from reid_dcs.models.backbones.fbnetv2 import FBNetV2
from reid_dcs.models.space import SPACES
from reid_dcs.search import derive


def assert_same_features(network, derived) -> None:
    """In float64 to 1e-9 of the largest, and the images are told apart."""
    with torch.no_grad():
        expected, found = (copy.deepcopy(n).double()(images().double()) for n in (network, derived))
    scale = expected.abs().max()
    assert expected.std(0).mean() > 1e-3 * scale
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_same_features(kind, seed):
    network = random_supergraph(kind, seed)
    derived = derive(network)
    assert type(derived.trunk) is FBNetV2
    widest = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in derived.parameters()) < 0.8 * widest
    assert_same_features(network, derived)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dcs", {"mode": "interp", "windows": 3}),
        ("dcs", {"union": "sum", "min_length": 20.0}),
        ("dcs_sw", {"mode": "interp"}),
        ("dcs_pos", {"ratio": 0.3}),
        ("sa", {"ratio": 0.7}),
    ],
)
def test_the_same_features_whatever_the_options(kind, options):
    network = random_supergraph(kind, **options)
    assert_same_features(network, derive(network))


@pytest.mark.parametrize(
    "space", ["fbnetv2", pytest.param("fbnetv2_xlarge", marks=pytest.mark.slow)]
)
def test_the_same_features_in_the_spaces_of_the_tables(space):
    """In double precision: 86 untrained blocks amplify rounding."""
    network = random_supergraph("dcs", space=SPACES[space]).double()
    assert_same_features(network, derive(network))


@pytest.mark.parametrize("kind", ["base", "dcs", "dcs_sw", "gsa"])
def test_its_architecture_file_builds_it(kind, tmp_path):
    """The file, and the derived weights."""
    network = random_supergraph(kind, space=SPACES["fbnetv2"])
    derived = derive(network)
    network.architecture().write(tmp_path / "found.json")
    name, file = f"fbnetv2_{kind}", str(tmp_path / "found.json")
    options = {} if kind == "base" else {"zero_init": False}
    built = reid_dcs.build_model(name, CLASSES, architecture=file, **options)
    for given, rebuilt in zip(derived.trunk.attentions, built.trunk.attentions, strict=True):
        for key, logits in given.named_parameters(recurse=False):  # before any weight is loaded
            assert torch.equal(getattr(rebuilt, key), logits)
    built.load_state_dict(derived.state_dict())
    assert_same_features(network, built.eval())


def test_mode_and_type_are_the_supergraphs():
    network = random_supergraph("dcs")
    assert not derive(network).training
    derived = derive(network.train().double())
    assert derived.training and next(derived.parameters()).dtype == torch.double
    assert derived.neck.bias.requires_grad is False
    wide = network.state_dict()
    for name, narrow in derived.state_dict().items():  # not by way of float32
        assert torch.equal(narrow, wide[name][tuple(map(slice, narrow.shape))])
    logits, features = derived(images().double())
    assert (logits.shape, features.shape) == ((4, CLASSES), (4, 64))


def test_the_triplet_loss_sees_the_supergraphs_feature():
    network = random_supergraph("dcs")
    network.triplet_feature = "before_neck"
    assert derive(network).triplet_feature == "before_neck"


@pytest.mark.parametrize("option", [{"bounds": "sigmoid"}, {"min_length": 4.0}])
def test_an_architecture_says_how_its_windows_are_read(option, tmp_path):
    """Logits of a sigmoid would be offsets in channels to another network."""
    network = random_supergraph("dcs_sw", space=SPACES["fbnetv2"], **option)
    network.architecture().write(tmp_path / "found.json")
    file = {"architecture": str(tmp_path / "found.json")}
    ((name, value),) = option.items()
    with pytest.raises(reid_dcs.InputError, match=f"pass model.options.{name}={value}"):
        reid_dcs.build_model("fbnetv2_dcs_sw", CLASSES, **file)
    built = reid_dcs.build_model("fbnetv2_dcs_sw", CLASSES, **file, **option)
    x = torch.zeros(1, network.trunk.attentions[-1].channels, 1, 1)
    for windows in zip(
        built.trunk.attentions[-1].windows(x)[0],
        derive(network).trunk.attentions[-1].windows(x)[0],
        strict=True,
    ):
        torch.testing.assert_close(*windows)
    reid_dcs.build_model("fbnetv2_dcs", CLASSES, **file)  # which ignores these windows


def test_the_supergraph_is_left_as_it_was():
    network = random_supergraph("dcs")
    state = {k: v.clone() for k, v in network.state_dict().items()}
    derived = derive(network)
    with torch.no_grad():
        for parameter in derived.parameters():
            parameter.zero_()
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
