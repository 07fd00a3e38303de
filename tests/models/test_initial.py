"""Initial weights: all of a file in the network, or one line that says what is different."""

import pytest
import torch
from helpers.networks import active_model, images
from torch import nn
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs import InputError
from reid_dcs.models import ClassificationNetwork, build_backbone
from reid_dcs.models.initial import load_initial, read_initial
from reid_dcs.weights import ModelCard, save_safetensors

HERE, THERE = 5, 9  # identities of the new run, and of the file
DEFAULT = {"mode": "bilinear", "bounds": "clamp"}
OLD = {"mode": "mask", "bounds": "sigmoid"}


def build(name: str, classes: int = HERE, seed: int = 1, **options) -> nn.Module:
    torch.manual_seed(seed)
    return reid_dcs.build_model(name, classes, **options)


def changed(name: str, classes: int = THERE, **options) -> dict[str, torch.Tensor]:
    """A state dict in which nothing is at its initialization."""
    state = build(name, classes, seed=2, **options).state_dict()
    return {k: v + torch.rand_like(v) if v.is_floating_point() else v + 3 for k, v in state.items()}


def write(file, state, name=None, options=None):
    """A checkpoint with a card, or a bare state dict."""
    content = {"state_dict": state}
    if name:
        content |= ModelCard(name, dict(options or {}), trained_on="market1501").to_dict()
    torch.save(content if name else state, file)
    return str(file)


def load(model, source, name, **options):
    return load_initial(model, read_initial(source), name, options)


def refused(source, name, **options):
    """The one line that refuses a file; also without the memory of a network."""
    lines = set()
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = build(name, **options)
        with pytest.raises(InputError) as error:
            load(model, source, name, **options)
        lines.add(str(error.value))
    (line,) = lines
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["osnet_x0_25", "mobilenetv2_dcs"])
@pytest.mark.parametrize("form", ["checkpoint", "bare", "torchreid", "DataParallel", "safetensors"])
def test_every_form_of_file_is_loaded_whole(tmp_path, name, form):
    state, file = changed(name), tmp_path / "file"
    options = DEFAULT if name.endswith("_dcs") else {}
    content = {
        "checkpoint": {"state_dict": state} | ModelCard(name, options).to_dict(),
        "bare": state,
        "torchreid": {"state_dict": state, "epoch": 60, "rank1": 0.9},
        "DataParallel": {f"module.{key}": value for key, value in state.items()},
    }
    if form == "safetensors":
        state = {key: v.half().float() if v.ndim > 1 else v for key, v in state.items()}
        save_safetensors(file, {"state_dict": state}, ModelCard(name, options))
    else:
        torch.save(content[form], file)
    model = build(name, THERE, **options)
    line = load(model, str(file), name, **options)
    assert line.startswith(f"initial weights: {file}") and ";" not in line
    found = model.state_dict()
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize("name", ["osnet_x0_25", "mobilenetv2_dcs"])
@pytest.mark.parametrize("there", [THERE, None])
def test_other_identities_get_a_new_classifier(tmp_path, name, there):
    state = changed(name, there or THERE)
    if there is None:  # as exported without its classifier
        state = {key: value for key, value in state.items() if "classifier" not in key}
    model, untouched = build(name), build(name).state_dict()
    line = load(model, write(tmp_path / "file.pt", state, name, DEFAULT), name)
    assert line.endswith(f"; new classifier for {HERE} identities, the file has {there or 0}")
    for key, value in model.state_dict().items():
        assert torch.equal(value, (untouched if "classifier" in key else state)[key]), key


def test_blocks_that_a_file_lacks_start_as_the_identity(tmp_path):
    base = active_model("mobilenetv2_base")
    file = write(tmp_path / "base.pt", base.state_dict(), "mobilenetv2_base")
    model, untouched = build("mobilenetv2_dcs"), build("mobilenetv2_dcs").state_dict()
    line = load(model, file, "mobilenetv2_dcs")
    assert line.endswith("; 4 attention blocks that the file lacks start as the identity")
    x = images()
    with torch.no_grad():
        assert torch.equal(model.eval()(x), base.eval()(x))
    for key, value in model.state_dict().items():
        if "attentions" in key:
            assert torch.equal(value, untouched[key])


def test_old_files_lack_the_counters_of_batch_norms(tmp_path):
    state = {k: v for k, v in changed("osnet_x0_25").items() if "num_batches" not in k}
    model = build("osnet_x0_25")
    load(model, write(tmp_path / "old.pth", state), "osnet_x0_25")
    assert torch.equal(model.state_dict()["conv1.bn.running_var"], state["conv1.bn.running_var"])


@pytest.mark.parametrize(
    "there, here, said",
    [
        ("mobilenetv2_dcs", "mobilenetv2_base", "unexpected, such as trunk.attentions."),
        ("mobilenetv2_base", "osnet_x0_25", "missing, such as conv1.conv.weight"),
        ("mobilenetv2_sa", "mobilenetv2_dcs", "missing, such as trunk.attentions.1.select.weight"),
        ("mobilenetv2_dcs_pos", "mobilenetv2_dcs", "of another shape, such as trunk.attentions."),
    ],
)
def test_another_architecture_is_refused_with_the_first_differences(tmp_path, there, here, said):
    line = refused(write(tmp_path / "file.pt", changed(there), there, {}), here)
    assert f"{tmp_path / 'file.pt'} holds the weights of another architecture" in line
    assert said in line


@pytest.mark.parametrize("name", ["mobilenetv2_base", None])
def test_a_classification_network_is_told_that_it_takes_no_reid_weights(tmp_path, name):
    source = write(tmp_path / "file.pt", build("mobilenetv2_base").state_dict(), name)
    with torch.device("meta"):
        network = ClassificationNetwork(build_backbone("mobilenetv2", "base"), HERE)
    with pytest.raises(InputError, match="holds weights of re-identification.*classify train"):
        load(network, source, "mobilenetv2_base")


def test_windows_of_another_kind_are_refused_where_the_shapes_agree(tmp_path):
    file = write(tmp_path / "file.pt", changed("mobilenetv2_dcs"), "mobilenetv2_dcs", DEFAULT)
    line = refused(file, "mobilenetv2_dcs_dim", windows=4)
    assert "holds mobilenetv2_dcs, not mobilenetv2_dcs_dim" in line


@pytest.mark.parametrize(
    "name, there, here, say",
    [
        ("mobilenetv2_dcs", OLD, {}, OLD),
        ("mobilenetv2_dcs", {}, {}, OLD),  # a card of before there were these options
        ("mobilenetv2_dcs", DEFAULT, {"mode": "interp"}, {"mode": "bilinear"}),
        ("mobilenetv2_dcs", DEFAULT | {"union": "sum"}, {}, {"union": "sum"}),
        ("mobilenetv2_dcs_sw", DEFAULT, {"min_length": 4.0}, {"min_length": 1.0}),
        ("mobilenetv2_sa", {"ratio": 0.25}, {}, {"ratio": 0.25}),
    ],
)
def test_a_block_is_never_read_in_another_way(tmp_path, name, there, here, say):
    file = write(tmp_path / "file.pt", changed(name), name, there)
    line = refused(file, name, **here)
    given = " ".join(f"model.options.{key}={value}" for key, value in say.items())
    assert line.endswith(f"pass {given}")
    load(build(name, **here | say), file, name, **here | say)


def test_a_bare_file_has_old_windows_unless_the_user_says_otherwise(tmp_path):
    file, name = write(tmp_path / "bare.pth", changed("mobilenetv2_dcs")), "mobilenetv2_dcs"
    line = refused(file, name)
    assert "no model card" in line
    assert "pass model.options.mode=mask model.options.bounds=sigmoid, or spell out" in line
    for options in (OLD, DEFAULT):
        load(build(name, **options), file, name, **options)


def test_options_that_only_decide_where_training_begins_may_differ(tmp_path):
    name, there = "mobilenetv2_dcs", DEFAULT | {"zero_init": False, "last_stride": 2}
    file = write(tmp_path / "file.pt", changed(name, **there), name, there)
    load(build(name), file, name)


def test_a_name_of_the_zoo_is_enough():
    name = "mobilenetv2_dcs"
    line = load(build(name), "mobilenetv2_dcs_synthetic", name)
    assert "mobilenetv2_dcs_synthetic (mobilenetv2_dcs, trained on synthetic)" in line


def test_a_classifier_of_imagenet_is_replaced(tmp_path):
    """torchreid's own ImageNet files hold 1000 classes."""
    state = torchreid_models.build_model("osnet_x0_25", 1000, pretrained=False).state_dict()
    model = build("osnet_x0_25")
    line = load(model, write(tmp_path / "imagenet.pth", state), "osnet_x0_25")
    assert "the file has 1000" in line
    assert torch.equal(model.conv1.conv.weight, state["conv1.conv.weight"])


@pytest.mark.parametrize("kind", ["base", "dcs"])
def test_a_searched_backbone_is_pretrained_as_a_classifier(tmp_path, kind):
    """ImageNet pre-training of a derived network: a file of the classification network."""
    backbone = build_backbone("fbnetv2", kind, architecture="synthetic_11m")
    network = ClassificationNetwork(backbone, 1000)
    state = {k: v + torch.rand_like(v.float()) for k, v in network.state_dict().items()}
    name, options = (
        f"fbnetv2_{kind}",
        {"architecture": "synthetic_11m"} | (DEFAULT if kind == "dcs" else {}),
    )
    file = write(tmp_path / "imagenet.pt", state, name, options)
    model = build(name, **options)
    line = load(model, file, name, **options)
    assert line.endswith(f"; new neck; new classifier for {HERE} identities, the file has 1000")
    found = model.state_dict()
    for key, value in state.items():
        if key.startswith("trunk."):
            assert torch.equal(found[key], value.to(found[key].dtype)), key
    assert torch.equal(found["neck.running_var"], torch.ones(1984))
    largest = {k: v for k, v in options.items() if k != "architecture"}
    assert "of another shape" in refused(file, name, **largest)
