"""Pruned networks give what the whole ones give; windows.json says what their windows are."""

from statistics import fmean, pvariance

import pytest
import torch
from torch import nn

from reid_dcs.attention import WindowedAttention, Windows, build_attention, windowed_query
from reid_dcs.jobs.windows import write_windows
from reid_dcs.search import describe_windows, pruned, recalibrate
from reid_dcs.search.prune import compare

CHANNELS = 32
KINDS = ["sa", "dcs", "dcs_pos", "dcs_dim", "dcs_sw", "gsa"]


def network(kind, size=(12, 6), **options):
    """One block, its windows short, its norm away from the identity."""
    torch.manual_seed(0)
    block = build_attention(kind, CHANNELS, zero_init=False, **options)
    with torch.no_grad():
        block.norm.running_var.uniform_(0.001, 0.01)
        for name, parameter in block.named_parameters():
            if name == "length_logit":
                parameter.fill_(-1.5)
            elif name == "select.weight":
                parameter *= 0.1
            elif name == "select.bias" and kind != "dcs_pos":
                parameter[len(parameter) // 2 if kind == "dcs" else 0 :] -= 3
            elif name == "logits":
                parameter[5] = 1.0
    images = torch.randn(6, CHANNELS, *size)
    return nn.Sequential(block).eval(), list(images.split(4))


@pytest.mark.parametrize("size", [(12, 6), (3, 2)])
@pytest.mark.parametrize("mode", ["mask", "interp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_network_gives_the_same(kind, mode, size):
    model, images = network(kind, size, mode=mode)
    smaller = pruned(model, images)
    for batch in images:
        torch.testing.assert_close(smaller(batch), model(batch), rtol=1e-5, atol=1e-5)
    kept = smaller[0].kept
    assert kept is not None and model[0].kept is None
    assert compare(model, smaller, images[0])["difference"] < 1e-5


def test_pruning_one_channel_more_shows():
    model, images = network("dcs_sw")
    smaller = pruned(model, images)
    read = torch.zeros(CHANNELS, dtype=torch.bool)
    read[smaller[0].kept] = True
    read[read.nonzero()[2]] = False
    smaller[0].keep(read)
    assert compare(model, smaller, images[0])["difference"] > 1e-4


@pytest.mark.parametrize("mode", ["mask", "interp"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_description_is_that_of_a_loop_over_positions(kind, mode):
    model, images = network(kind, mode=mode)
    block, all_images = model[0], torch.cat(images)
    found = describe_windows(model, images)["0"]
    report = block.report(all_images)
    assert found["kind"] == type(block).__name__.lower() and found["channels"] == CHANNELS
    for name, values in report._asdict().items():
        assert found[name]["mean"] == pytest.approx(values.mean().item(), rel=1e-5)
        assert found[name]["std"] == pytest.approx(values.std(correction=0).item(), abs=1e-4)
        assert values.min() <= found[name]["q05"] <= found[name]["q50"] <= found[name]["q95"]
    shares = {name: values / CHANNELS for name, values in report._asdict().items()}
    shares["selected"] = report.selected
    for name in ("length", "selected"):
        numbers = shares[name].flatten().tolist()
        outside = [number for number in numbers if number < 0.05 or number > 0.95]
        assert found["saturated"][name] == pytest.approx(len(outside) / len(numbers))
    for name in ("start", "length"):
        columns = shares[name].flatten(2).permute(2, 0, 1).tolist()  # (M, B, N)
        expected = {
            "over_positions": fmean(pvariance(image) for window in columns for image in window),
            "over_images": fmean(
                pvariance(position) for window in columns for position in zip(*window, strict=True)
            ),
        }
        assert found["variance"][name] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    tokens = all_images.flatten(2).mT
    windows = block.windows(all_images)
    read = set()
    for c in range(CHANNELS):
        one = torch.zeros_like(tokens)
        one[..., c] = 1
        query = windowed_query(one, *windows, mode=mode, union=block.union)
        if query.abs().sum() > 0:
            read.add(c)
    assert {c for first, last in found["read"] for c in range(first, last)} == read


class GivenWindows(WindowedAttention):
    """The first two channels of a position are the start and the length of its window."""

    def windows(self, x, reach=None):
        tokens = x.flatten(2).mT  # (B, N, C)
        return Windows(tokens[..., :1], tokens[..., 1:2])


def test_saturation_and_variance_of_windows_known_by_hand():
    x = torch.zeros(2, CHANNELS, 2, 1)
    x[0, :2, :, 0] = torch.tensor([[0.0, 1], [8, 16]]).T  # 3 % and half of the 32 channels
    x[1, :2, :, 0] = torch.tensor([[0.0, 32], [16, 16]]).T  # all and half of them
    found = describe_windows(nn.Sequential(GivenWindows(CHANNELS)).eval(), [x[:1], x[1:]])["0"]
    assert found["saturated"] == {"length": 2 / 4, "selected": 2 / 4}

    def two(a, b):
        """The variance of two numbers."""
        return (a - b) ** 2 / 4

    assert found["variance"]["start"] == pytest.approx(
        {
            "over_positions": (two(0, 1 / 4) + two(0, 1 / 2)) / 2,
            "over_images": (two(0, 0) + two(1 / 4, 1 / 2)) / 2,
        }
    )
    assert found["variance"]["length"] == pytest.approx(
        {
            "over_positions": (two(1 / 32, 1 / 2) + two(1, 1 / 2)) / 2,
            "over_images": (two(1 / 32, 1) + two(1 / 2, 1 / 2)) / 2,
        }
    )


@pytest.mark.parametrize("kind", ["sa", "dcs_sw", "gsa"])
def test_a_window_that_all_positions_share_has_no_variance(kind):
    model, images = network(kind)
    for variance in describe_windows(model, images)["0"]["variance"].values():
        assert variance == pytest.approx({"over_positions": 0, "over_images": 0}, abs=1e-12)


def test_multiply_adds_are_those_of_the_cheaper_order():
    model, images = network("sa", size=(12, 6))
    found = describe_windows(model, images)["0"]
    n, c, read = 72, CHANNELS, CHANNELS // 2
    assert found["read"] == [[0, read]]
    assert found["macs"] == min(n * n * 2 * c, 2 * n * c * c)
    assert found["pruned_macs"] == min(n * n * (read + c), 2 * n * read * c)


@pytest.mark.parametrize("kind, blocks", [("dcs", 1), ("base", 0)])
def test_the_summary_has_a_line_for_each_block_and_none_without(kind, blocks, tmp_path, capsys):
    """A search of ``base`` by ``retrain=warm_frozen`` finds no windows."""
    model, images = network("dcs")
    if kind == "base":
        model = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1)).eval()
    content = write_windows(model, lambda: images, tmp_path)
    assert (tmp_path / "windows.json").exists() and len(content["blocks"]) == blocks
    said = capsys.readouterr().out
    assert ("affinity products" in said) == ("saturated" in said) == (blocks == 1)


def test_what_was_left_out_stays_out():
    model, (images, others) = network("dcs")
    once = pruned(model, [images])
    read = torch.zeros(CHANNELS, dtype=torch.bool)
    read[once[0].kept] = True
    read[read.nonzero()[0]] = False
    once[0].keep(read)
    twice = pruned(once, [images, others])  # whose windows read the channel, too
    kept = torch.zeros(CHANNELS, dtype=torch.bool)
    kept[twice[0].kept] = True
    assert torch.equal(kept, read)


@pytest.mark.parametrize("measure", [describe_windows, pruned, recalibrate])
def test_no_images_are_refused(measure):
    """Such as a generator of images that was used before."""
    model, _ = network("dcs")
    momentum = model[0].norm.momentum
    with pytest.raises(ValueError, match="no images"):
        measure(model, iter([]))
    assert model[0].norm.momentum == momentum
