"""Trained networks compute what they did, whatever today's defaults are."""

import pytest
import torch
from helpers.attention_kinds import WINDOWED

from reid_dcs.attention import ATTENTIONS
from reid_dcs.attention.options import LEARNED, options_of_file, options_to_write
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.models import build_model


@pytest.mark.parametrize("kind", WINDOWED)
def test_what_is_written_builds_the_same_blocks_and_says_it_all(kind):
    model = f"mobilenetv2_{kind}"
    written = options_to_write(model, {"union": "sum"})
    assert options_of_file(model, written) == written
    assert (set(written) == {"union", "mode", "bounds"}) == (kind in LEARNED)
    given = {"mode": "interp"}
    assert (
        options_to_write(model, given)["mode"] == options_of_file(model, given)["mode"] == "interp"
    )
    with torch.device("meta"):
        blocks = [
            [
                m
                for m in build_model(model, 1, **options).modules()
                if isinstance(m, ATTENTIONS[kind])
            ]
            for options in ({"union": "sum"}, written)
        ]
    for one, other in zip(*blocks, strict=True):
        assert one.mode == other.mode
        assert getattr(one, "bounds", None) == getattr(other, "bounds", None)


@pytest.mark.parametrize("name", ["mobilenetv2_dcs_synthetic", "mobilenetv2_dcs_market1501"])
def test_a_network_of_the_zoo_reads_its_windows_as_it_was_trained(name):
    network = load_trained(read_trained(name, {}), torch.device("cpu"))
    blocks = [m for m in network.modules() if isinstance(m, ATTENTIONS["dcs"])]
    assert len(blocks) == 4
    assert {(block.mode, block.bounds) for block in blocks} == {("bilinear", "clamp")}


def test_other_models_have_no_such_options():
    names = ("mobilenetv2_base", "osnet_x1_0", "resnet50_sa", "mobilenetv2_gsa")
    for model in (*names, "mobilenetv2_dcs_mask"):
        assert options_of_file(model, {}) == options_to_write(model, {}) == {}
