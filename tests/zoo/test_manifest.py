"""The manifest: typed, whole, and of networks and data sets that there are."""

from dataclasses import replace
from importlib.resources import files

import pytest
import torch
import yaml
from helpers.paths import REPOSITORY
from torchreid import models as torchreid_models

import reid_dcs
from reid_dcs import InputError
from reid_dcs.data.datasets import DATASETS
from reid_dcs.zoo import download, read_manifest, read_weights_and_card
from reid_dcs.zoo.manifest import MANIFEST

ZOO = read_manifest()
SHIPPED = [name for name, entry in ZOO.items() if entry.sources[0].startswith("package:")]
GOOD = yaml.safe_load(MANIFEST.read_text())["weights"]["mobilenetv2_dcs_synthetic"]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"modle": "x"}, "modle"),
        ({"num_classes": "many"}, "num_classes"),
        ({"licence": None}, "licence"),
        ({"sha256": "abc"}, "64 digits"),
        ({"sha256": None}, "needs its sha256"),
        ({"file": "../x"}, "without folders"),
        ({"sources": []}, "no sources"),
        ({"sources": ["ftp://x"]}, "a source must start with"),
        ({"metrics": {"mAP": 69.4}}, "fractions"),
        ({"preprocessing": {"std": [0.2, 0.2, 0.0]}}, "std must be three numbers above 0"),
        ({"preprocessing": {"interpolation": "cubic"}}, "interpolation"),
        ({"stated_by": "somebody"}, "measured_by or stated_by"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_line(change, said, tmp_path):
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump({"weights": {"some": GOOD}}))
    assert read_manifest(path)["some"].model == "mobilenetv2_dcs"
    path.write_text(yaml.safe_dump({"weights": {"some": GOOD | change}}))
    with pytest.raises(InputError, match=said) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("left_out", ["file", "sources", "model", "trained_on", "metrics"])
def test_a_field_that_is_left_out_is_named(left_out, tmp_path):
    path = tmp_path / "manifest.yaml"
    some = {key: value for key, value in GOOD.items() if key != left_out}
    path.write_text(yaml.safe_dump({"weights": {"some": some}}))
    with pytest.raises(InputError, match=f"some.{left_out}: "):
        read_manifest(path)


@pytest.mark.parametrize("name", ZOO)
def test_an_entry_is_of_a_network_and_a_set_that_there_are(name):
    entry = ZOO[name]
    assert {entry.trained_on, entry.evaluated_on or entry.trained_on} <= set(DATASETS)
    known = reid_dcs.list_models() + list(vars(torchreid_models)["__model_factory"])
    assert entry.model in known
    assert {"mAP", "rank1"} <= set(entry.metrics)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_has_the_manifests_figures(name):
    entry = ZOO[name]
    size = f"{entry.preprocessing.height}x{entry.preprocessing.width}"
    figures = " | ".join(f"{100 * entry.metrics[key]:.1f}" for key in ("mAP", "rank1"))
    row = f"| `{name}` | {size} | {figures} | {entry.licence} |\n"
    assert row in (REPOSITORY / "docs/zoo.md").read_text()


def test_no_two_entries_share_a_file():
    assert len({entry.file for entry in ZOO.values()}) == len(ZOO)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_what_the_manifest_says(name, tmp_path):
    entry = ZOO[name]
    _, content, card = read_weights_and_card(download(name, entry, tmp_path))
    stated = {"metrics": {}, "command": "", "epoch": 0}  # not in the manifest, or rounded there
    assert replace(card, **stated) == replace(entry.card(), **stated)
    assert set(entry.metrics) <= set(card.metrics)
    assert all(value.dtype != torch.float16 for value in content["state_dict"].values())
    shipped = (files("reid_dcs.zoo") / "weights" / entry.file).read_bytes()
    assert b"/work" not in shipped and b"/home" not in shipped
