"""Architecture files: a network is built as its file says, a wrong file is refused in one line."""

import dataclasses
import json
import math
import random

import pytest
import torch
from helpers.networks import CLASSES, images
from omegaconf import OmegaConf
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs.models.architecture import PACKAGED, Architecture, packaged_architectures
from reid_dcs.models.complexity import complexity
from reid_dcs.models.space import SPACES

SPACE = SPACES["fbnetv2"]


def random_architecture(seed: int = 0) -> Architecture:
    choose = random.Random(seed).choice
    return Architecture(
        "fbnetv2",
        tuple(choose(block.widths) for block in SPACE.blocks),
        tuple(choose(block.expansions) for block in SPACE.blocks),
    )


@pytest.mark.parametrize("kind", ["base", "dcs"])
def test_a_file_gives_its_widths_and_expansions(kind, tmp_path):
    architecture = random_architecture()
    architecture.write(tmp_path / "found.json")
    model = reid_dcs.build_model(
        f"fbnetv2_{kind}", CLASSES, architecture=str(tmp_path / "found.json")
    )
    blocks = [block for stage in model.trunk.stages for block in stage]
    hidden, inputs = [], 16
    for width, expansion in zip(architecture.widths, architecture.expansions, strict=True):
        hidden.append(expansion * inputs)
        inputs = width
    assert [block.project.in_channels for block in blocks] == hidden
    assert [block.project.out_channels for block in blocks] == [*architecture.widths]
    assert model.eval()(images()).shape == (4, 1984)


def test_a_mapping_and_an_architecture_are_accepted_too():
    given = random_architecture()
    content = json.loads(json.dumps(dataclasses.asdict(given)))
    shapes = [
        [p.shape for p in reid_dcs.build_model("fbnetv2_sa", 2, architecture=a).parameters()]
        for a in (given, content, OmegaConf.create(content))
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_the_default_is_the_largest_of_the_space():
    largest = Architecture.largest(SPACE)
    assert largest.widths[-1] == 216 and largest.expansions[-1] == 4.5
    default = reid_dcs.build_model("fbnetv2_dcs", 2)
    named = reid_dcs.build_model("fbnetv2_dcs", 2, architecture=largest)
    assert [p.shape for p in default.parameters()] == [p.shape for p in named.parameters()]
    count = [
        sum(p.numel() for p in reid_dcs.build_model("fbnetv2_base", 2, architecture=a).parameters())
        for a in (Architecture.smallest(SPACE), random_architecture(), largest)
    ]
    assert count == sorted(count)


@pytest.mark.parametrize(
    ("kind", "names", "length"),
    [("dcs_sw", ["start_logit", "length_logit"], 1), ("gsa", ["logits"], 15)],
)
def test_windows_of_a_file_are_loaded_into_their_blocks(kind, names, length):
    windows = tuple({name: torch.randn(length).tolist() for name in names} for _ in SPACE.stages)
    found = dataclasses.replace(random_architecture(), attention=kind, windows=windows)
    model = reid_dcs.build_model(f"fbnetv2_{kind}", 2, architecture=found)
    for block, given in zip(model.trunk.attentions, windows, strict=True):
        for name in names:
            torch.testing.assert_close(getattr(block, name).tolist(), given[name])
    with torch.device("meta"):  # as where settings are checked
        reid_dcs.build_model(f"fbnetv2_{kind}", 2, architecture=found)
    for other in {"base", "dcs", "dcs_sw", "gsa"} - {kind}:  # they ignore the windows
        reid_dcs.build_model(f"fbnetv2_{other}", 2, architecture=found)


@pytest.mark.parametrize("name", packaged_architectures())
def test_a_packaged_architecture_is_built_by_its_name_and_costs_what_its_search_aimed_at(name):
    search = OmegaConf.load(PACKAGED / f"{name}.yaml")
    model = reid_dcs.build_model(search.model.name, 2, architecture=name)
    cost = complexity(model, (3, search.data.height, search.data.width))
    assert cost.total_macs / 1e9 == pytest.approx(search.search.target_gmacs, rel=0.1)


@pytest.mark.parametrize("name", packaged_architectures())
@pytest.mark.parametrize("kind", ["base", "dcs"])
def test_a_packaged_architecture_is_a_model_of_torchreids_zoo(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_architecture().write(name)  # of no importance to a model's name
    space = json.loads((PACKAGED / f"{name}.json").read_text())["space"]
    model = torchreid_models.build_model(f"{space}_{name}_{kind}", CLASSES, pretrained=False)
    option = {"architecture": str(PACKAGED / f"{name}.json")}
    expected = reid_dcs.build_model(f"{space}_{kind}", CLASSES, **option)
    shapes, others = (
        {key: value.shape for key, value in network.state_dict().items()}
        for network in (model, expected)
    )
    assert shapes == others
    assert f"{space}_{name}_{kind}" in reid_dcs.list_models()


def test_a_file_takes_precedence_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_architecture().write(packaged_architectures()[0])
    assert reid_dcs.build_model("fbnetv2_dcs", 2, architecture=packaged_architectures()[0])


def refusal(architecture, name: str = "fbnetv2_dcs") -> str:
    with pytest.raises(reid_dcs.InputError) as caught:
        reid_dcs.build_model(name, 2, architecture=architecture)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_an_architecture_are_refused(tmp_path):
    missing = refusal(str(tmp_path / "none.json"))
    assert "no architecture at" in missing and packaged_architectures()[0] in missing
    file = tmp_path / "found.json"
    for text in ("{", "[]", '{"space": "fbnetv2"}', '{"widths": 3}', "null"):
        file.write_text(text)
        assert "is not an architecture" in refusal(str(file))
        assert str(file) in refusal(str(file))


def test_another_spaces_architecture_is_refused():
    message = refusal(random_architecture(), "fbnetv2_large_dcs")
    assert "'fbnetv2'" in message and "'fbnetv2_large'" in message


def test_wrong_entries_are_named():
    good = dataclasses.asdict(random_architecture())
    assert "widths[3] is 17" in refusal(good | {"widths": [*good["widths"][:3], 17] + [0] * 14})
    assert "17 expansions, but 18 blocks" in refusal(good | {"expansions": [1.25] * 17})
    assert "widths must be a list" in refusal(good | {"widths": 16})
    assert "widths must be a list" in refusal(good | {"widths": "16"})
    assert "depth" not in good and "may have" in refusal(good | {"depth": 3})
    wrong = good | {"attention": "dcs_sw", "windows": [{"start_logit": [0.0]}] * 4}
    assert "dcs_sw" in refusal(wrong, "fbnetv2_dcs_sw")
    assert "widths[0] is" in refusal(good | {"widths": [float(w) for w in good["widths"]]})
    assert "options must be" in refusal(good | {"options": ["clamp"]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"attention": "dcs-sw", "windows": [{}] * 4}, "attention is 'dcs-sw'"),
        ({"windows": [{"logits": [0.0] * 15}] * 4}, "windows belong to a kind"),
        ({"attention": "gsa", "windows": [{"logits": [7.0]}] * 4}, "logits must be 15"),
        ({"attention": "gsa", "windows": [{"logits": [math.nan] * 15}] * 4}, "logits must be 15"),
        ({"attention": "gsa", "windows": [{"logits": [0.0] * 15, "a": [1]}] * 4}, "has logits"),
        ({"attention": "gsa", "windows": [3] * 4}, "has logits"),
    ],
)
def test_wrong_windows_are_refused_and_not_ignored(content, message):
    wrong = dataclasses.asdict(random_architecture()) | content
    assert message in refusal(wrong, "fbnetv2_gsa")


def test_networks_without_a_space_have_no_option_architecture():
    assert "architecture" in refusal(random_architecture(), "mobilenetv2_dcs")
