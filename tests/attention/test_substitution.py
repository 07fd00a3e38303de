"""Substituted windows: what each substitution changes, and that nothing else does."""

import pytest
import torch
from helpers.networks import CLASSES, active_model, assert_same_features, images, settle
from torch import nn

from reid_dcs import build_model
from reid_dcs.attention import (
    SUBSTITUTIONS,
    build_attention,
    report_windows,
    substitute,
    substitutions,
)
from reid_dcs.attention.mask import overlap_union
from reid_dcs.search import describe_windows

CHANNELS = 24
LEARNED = ("dcs", "dcs_pos", "dcs_dim")


def block(kind, **options):
    """A network of one block that is not the identity, and its input (B, C, H, W)."""
    torch.manual_seed(0)
    network = nn.Sequential(build_attention(kind, CHANNELS, zero_init=False, **options)).eval()
    if kind == "gsa":
        network[0].logits.data[5] = 1.0  # at first its likeliest window has all channels
    return network, torch.randn(6, CHANNELS, 4, 3)


def attention(block, x, query):
    """The block with affinities ``query @ x.mT``, written out; query is (B, N, C)."""
    tokens = x.flatten(2).mT
    attended = query @ tokens.mT @ tokens / tokens.shape[1]
    return x + block.norm(block.project(attended.mT.unflatten(2, x.shape[2:])))


@pytest.mark.parametrize(
    "kind, expected",
    [(kind, ["all_channels", "shuffled", "random", "removed"]) for kind in LEARNED]
    + [
        ("dcs_sw", ["all_channels", "random", "removed"]),
        ("sa", ["all_channels", "removed"]),
        ("gsa", ["all_channels", "removed"]),
    ],
)
def test_each_kind_has_the_substitutions_that_are_meaningful_for_it(kind, expected):
    assert substitutions(block(kind)[0]) == expected


def test_a_network_without_attention_has_none():
    assert substitutions(build_model("mobilenetv2_base", CLASSES)) == []


@pytest.mark.parametrize("options", [{}, {"mode": "interp"}, {"mode": "mask", "union": "sum"}])
@pytest.mark.parametrize("kind", ["sa", "dcs", "dcs_sw", "gsa"])
def test_all_channels_is_self_attention_written_out(kind, options):
    network, x = block(kind, **options)
    found = substitute(network, "all_channels")(x)
    torch.testing.assert_close(found, attention(network[0], x, x.flatten(2).mT))
    assert not torch.allclose(found, network(x))


@pytest.mark.parametrize("kind", LEARNED)
def test_shuffled_windows_are_a_permutation_within_each_image(kind):
    network, x = block(kind)
    trained, changed = network[0].windows(x), substitute(network, "shuffled")[0].windows(x)

    def positions(windows):
        """The windows of each position, by image."""
        return [
            [tuple(s.tolist() + t.tolist()) for s, t in zip(*pair, strict=True)]
            for pair in zip(*windows, strict=True)
        ]

    before, after = positions(trained), positions(changed)
    assert [sorted(image) for image in before] == [sorted(image) for image in after]
    assert all(one != other for one, other in zip(before, after, strict=True))
    orders = [[one.index(w) for w in other] for one, other in zip(before, after, strict=True)]
    assert len(set(map(tuple, orders))) > 1  # each image has a permutation of its own


@pytest.mark.parametrize("kind", LEARNED)
def test_random_windows_keep_their_lengths_and_stay_inside(kind):
    network, x = block(kind, windows=2)
    x = x.repeat(50, 1, 1, 1)
    trained, changed = network[0].windows(x), substitute(network, "random")[0].windows(x)
    assert torch.equal(changed.length, trained.length)
    assert changed.start.min() >= 0 and (changed.start + changed.length).max() <= CHANNELS + 1e-4
    share = changed.start / (CHANNELS - changed.length)  # of the room
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    assert share.std().item() == pytest.approx(12**-0.5, abs=0.02)
    assert share.flatten().unique().numel() > 0.99 * share.numel()


def test_a_random_window_of_a_layer_is_the_same_for_all_images():
    network, x = block("dcs_sw")
    changed = substitute(network, "random", seed=3)
    first, again = changed[0].windows(x), changed[0].windows(x)
    assert torch.equal(first.start, again.start) and first.start.shape == (1,)
    assert torch.equal(first.length, network[0].windows(x).length)
    assert first.start != network[0].windows(x).start
    assert first.start != substitute(network, "random", seed=4)[0].windows(x).start


@pytest.mark.parametrize("substitution", ["shuffled", "random"])
def test_a_block_reads_its_affinities_through_the_windows_in_their_place(substitution):
    network, x = block("dcs", mode="mask")
    start, length = substitute(network, substitution)[0].windows(x)
    tokens = x.flatten(2).mT
    query = torch.zeros_like(tokens)
    for b, n, c in torch.cartesian_prod(*map(torch.arange, tokens.shape)).tolist():
        overlaps = [
            min(max(min(s + t, c + 1) - max(s, c), 0), 1)
            for s, t in zip(start[b, n].tolist(), length[b, n].tolist(), strict=True)
        ]
        query[b, n, c] = max(overlaps) * tokens[b, n, c]
    found = substitute(network, substitution)(x)
    torch.testing.assert_close(found, attention(network[0], x, query), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["sa", "dcs", "gsa"])
def test_removed_attention_leaves_the_base_network_of_the_same_weights(kind):
    network = settle(active_model(f"mobilenetv2_{kind}"))
    base = build_model("mobilenetv2_base", CLASSES).eval()
    state = network.state_dict()
    base.load_state_dict({name: state[name] for name in base.state_dict()})
    x = images()
    with torch.no_grad():
        assert torch.equal(substitute(network, "removed")(x), base(x))
        assert not torch.allclose(network(x), base(x), rtol=1e-2)


@pytest.mark.parametrize("substitution", SUBSTITUTIONS)
def test_the_network_itself_is_not_changed(substitution):
    network = settle(active_model("mobilenetv2_dcs"))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x = images()
    with torch.no_grad():
        before = network(x)
        substitute(network, substitution)(x)
        assert torch.equal(network(x), before)
    after = network.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], state[name]) for name in state)


@pytest.mark.parametrize("substitution", ["shuffled", "random"])
def test_a_seed_gives_the_same_features_in_batches_of_any_size(substitution):
    network, x = settle(active_model("mobilenetv2_dcs")), images(8)

    def features(seed, sizes):
        changed = substitute(network, substitution, seed)
        with torch.no_grad():
            return torch.cat([changed(part) for part in x.split(sizes)])

    whole = features(1, [8])
    assert torch.equal(whole, features(1, [8]))
    assert_same_features(features(1, [5, 3]), whole, 1e-5)
    assert not torch.allclose(features(2, [8]), whole, rtol=1e-4)


def test_blocks_do_not_share_their_draws():
    torch.manual_seed(0)
    network = nn.Sequential(*(build_attention("dcs", CHANNELS) for _ in range(2))).eval()
    network[1].load_state_dict(network[0].state_dict())  # identities, of the same windows
    x = torch.randn(2, CHANNELS, 4, 3)
    first, second = report_windows(substitute(network, "random"), x).values()
    assert torch.equal(first.length, second.length)
    assert not torch.isclose(first.start, second.start).any()


def test_an_unknown_substitution_is_refused():
    with pytest.raises(ValueError, match="must be one of .*'shuffled'.*not 'shuffle'"):
        substitute(block("dcs")[0], "shuffle")


@pytest.mark.parametrize("kind", ["dcs", "dcs_mask"])
def test_what_is_described_is_what_is_read(kind):
    network, x = block(kind)
    everything = describe_windows(substitute(network, "all_channels"), [x])
    assert list(everything) == ["0"]  # not the original block inside
    assert everything["0"]["selected"]["mean"] == 1
    report = substitute(network, "random")[0].report(x)
    if kind == "dcs":  # those of the same windows
        covered = overlap_union(x.flatten(2).mT, report.start, report.length, "max")
        torch.testing.assert_close(report.selected, covered.mean(-1))


def test_a_substituted_block_is_in_the_mode_of_its_network():
    network, _ = block("dcs")
    assert not any(module.training for module in substitute(network, "random").modules())
