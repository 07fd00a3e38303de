"""Each member of the family: where its windows come from."""

import pytest
import torch
import torch.nn.functional as F
from helpers.attention_kinds import every_reading
from helpers.gather_reference import random_features
from torch import Tensor

from reid_dcs.attention import (
    DCS,
    DCSSW,
    GSA,
    SA,
    DCSDim,
    DCSPos,
    build_attention,
    channel_attention,
    windowed_query,
)
from reid_dcs.attention.query import MODES

all_modes = pytest.mark.parametrize("mode", list(MODES))
SIZES = [(24, 5, 3), (8, 6, 4)]  # (C, H, W): fewer positions than channels, and more
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def feature_map(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def block_output(block, x: Tensor, attended: Tensor) -> Tensor:
    """Figure 2 around ``attended`` (B, N, C), written out, with the statistics of evaluation."""
    attended = attended.mT.reshape(x.shape)
    projected = F.conv2d(attended, block.project.weight, padding=1, groups=x.shape[1])
    scale = block.norm.weight / (block.norm.running_var + block.norm.eps).sqrt()
    shift = block.norm.bias - scale * block.norm.running_mean
    return x + scale[:, None, None] * projected + shift[:, None, None]


def test_dcs_is_figure_2():
    """x + BN(DWConv((1/N) R X)), position by position, on a map that is not square."""
    channels, height, width = 6, 3, 2
    torch.manual_seed(0)
    block = (
        DCS(channels, windows=1, min_length=1.5, mode="mask", bounds="sigmoid", zero_init=False)
        .double()
        .eval()
    )
    x = feature_map(1, channels, height, width).double()
    select = block.select.weight[:, :, 0, 0]
    attended = torch.zeros_like(x)
    for h in range(height):
        for w in range(width):
            own = x[0, :, h, w]
            a, b = select @ own + block.select.bias
            length = 1.5 + (channels - 1.5) * b.sigmoid()
            start = (channels - length) * a.sigmoid()
            edges = start.item(), (start + length).item()
            weights = [min(edges[1], p + 1) - max(edges[0], p) for p in range(channels)]
            weights = torch.tensor(weights, dtype=torch.float64).clamp(0, 1)
            for g in range(height):
                for v in range(width):
                    other = x[0, :, g, v]
                    affinity = (weights * own * other).sum()
                    attended[0, :, h, w] += affinity * other / (height * width)
    expected = block_output(block, x, attended.flatten(2).mT)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


@sizes
@pytest.mark.parametrize("ratio", [1, 0.5, 0.3, 0.01])
def test_sa_is_equation_2(size, ratio):
    """The first floor(r C) channels, at least one; r = 1 is Eq. (1)."""
    block = SA(size[0], ratio=ratio, zero_init=False).double().eval()
    x = random_features(2, *size)
    columns = x.flatten(2).mT  # (B, N, C)
    chosen = columns[..., : max(1, int(ratio * size[0]))]
    attended = chosen @ chosen.mT @ columns / columns.shape[1]
    torch.testing.assert_close(block(x), block_output(block, x, attended), rtol=1e-12, atol=1e-12)


@all_modes
@sizes
@pytest.mark.parametrize(
    "logits", [(0.0, 0.0), (-9.0, -1.0), (9.0, -1.0), (0.3, 9.0), (0.0, -99.0)]
)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_dcs_sw_reads_a_slice_and_gives_the_full_width_result(size, logits, mode, training):
    """Output, and the gradients of x and of the window, inside and at both ends."""
    block = DCSSW(size[0], mode=mode, zero_init=False).double().train(training)
    with torch.no_grad():
        block.start_logit.fill_(logits[0])
        block.length_logit.fill_(logits[1])
    tokens = random_features(2, size[1] * size[2], size[0]).requires_grad_()
    window = block.windows(tokens)
    inputs = tokens, block.start_logit, block.length_logit
    query = windowed_query(tokens, *window, mode=mode)
    full = channel_attention(query, tokens, tokens)
    sliced = block.attend(tokens, window)
    torch.testing.assert_close(sliced, full, rtol=1e-12, atol=1e-12)
    probe = random_features(*tokens.shape, seed=1)
    ours = torch.autograd.grad((sliced * probe).sum(), inputs, retain_graph=True)
    expected = torch.autograd.grad((full * probe).sum(), inputs)
    for gradient, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-11, atol=1e-11)


def test_dcs_sw_touches_no_more_than_its_window():
    """8.875 channels from 27.56, and one more for the gradient of the end."""
    block = DCSSW(64, bounds="sigmoid").double()
    with torch.no_grad():
        block.length_logit.fill_(-2.0)  # 8.5 channels from 27.75
    tokens = random_features(1, 5, 64)
    first, last = block.touched(block.windows(tokens))
    assert (first, last) == (27, 38)
    query = windowed_query(tokens, *block.windows(tokens), mode="mask")
    assert query[..., :first].count_nonzero() == query[..., last:].count_nonzero() == 0
    assert query[..., first : last - 2].count_nonzero() == query[..., first : last - 2].numel()


def test_static_windows_that_are_not_finite_read_the_full_width():
    """A diverged network must reach the engine's own message."""
    block = DCSSW(8, zero_init=False).eval()
    with torch.no_grad():
        block.start_logit.fill_(torch.nan)
    assert block(feature_map(1, 8, 3, 2)).isnan().any()


def test_dcs_pos_holds_the_length_and_dcs_dim_the_start():
    torch.manual_seed(0)
    x = feature_map(2, 24, 5, 3)
    start, length = DCSPos(24, ratio=0.25, windows=3).windows(x)
    assert start.shape == length.shape == (2, 15, 3)
    assert (length == 6).all() and start.std() > 0.1
    assert start.min() >= 0 and (start + length).max() <= 24
    start, length = DCSDim(24, min_length=2, windows=3).windows(x)
    assert start.shape == length.shape == (2, 15, 3)
    assert (start == 0).all() and length.std() > 0.1
    assert length.min() >= 2 and length.max() <= 24


@pytest.mark.parametrize("channels", [320, 20, 3])
def test_gsa_has_the_15_options_of_the_appendix(channels):
    """Ratio r = 1/n: n windows of floor(C r) channels from floor(C k r)."""
    block = GSA(channels)
    options = [(channels * k // n, max(1, channels // n)) for n in (1, 2, 4, 8) for k in range(n)]
    start, length = block.candidates()
    assert [*zip(start.tolist(), length.tolist(), strict=True)] == options
    assert len(options) == 15
    assert (start + length).max() <= channels
    for mask, (start, length) in zip(block.masks(), options, strict=True):
        assert mask.nonzero().flatten().tolist() == [*range(start, start + length)]


@sizes
def test_gsa_mixes_affinities_by_mixing_masks(size):
    """Eq. (2) for each of the 15 channel sets, weighed by the same Gumbel draw."""
    block = GSA(size[0], zero_init=False, temperature=0.7).double().train()
    torch.nn.init.normal_(block.logits, generator=torch.Generator().manual_seed(0))
    tokens = random_features(2, size[1] * size[2], size[0])
    torch.manual_seed(3)
    ours = block.attend(tokens, block.windows(tokens))
    torch.manual_seed(3)
    chances = F.gumbel_softmax(block.logits, 0.7)
    affinity = sum(
        chance * (chosen := tokens * mask) @ chosen.mT
        for chance, mask in zip(chances, block.masks(), strict=True)
    )
    expected = affinity @ tokens / tokens.shape[1]
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_gsa_takes_the_likeliest_window_in_evaluation():
    block = GSA(16).double().eval()
    with torch.no_grad():
        block.logits[9] = 1.0  # n = 8, k = 2: channels 4 and 5
    tokens = random_features(1, 7, 16)
    chosen = tokens[..., 4:6]
    expected = chosen @ chosen.mT @ tokens / 7
    torch.testing.assert_close(block.attend(tokens, block.windows(tokens)), expected)


def test_gsa_temperature_can_be_annealed():
    """The colder, the nearer a draw is to a single window."""
    block = GSA(16).train()
    tokens = random_features(1, 7, 16)
    torch.manual_seed(0)
    block.temperature = 1e-6
    draws = {
        tuple(block.attend(tokens, block.windows(tokens)).flatten().tolist()) for _ in range(40)
    }
    single = set()
    for mask in block.masks().double():
        affinity = (tokens * mask) @ (tokens * mask).mT
        single.add(tuple((affinity @ tokens / 7).flatten().tolist()))
    nearest = [min(torch.dist(torch.tensor(d), torch.tensor(s)) for s in single) for d in draws]
    assert len(draws) > 5
    assert max(nearest) < 1e-3


@pytest.mark.parametrize("windows", [1, 2, 4])
@pytest.mark.parametrize("scale", [1.0, 1e3], ids=["usual", "saturated"])
def test_dcs_windows_stay_inside_and_follow_the_position(windows, scale):
    channels, min_length = 24, 2.0
    torch.manual_seed(0)
    block = DCS(channels, windows=windows, min_length=min_length)
    start, length = block.windows(scale * feature_map(3, channels, 5, 4))
    assert start.shape == length.shape == (3, 20, windows)
    assert start.min() >= 0
    assert length.min() >= min_length
    assert (start + length).max() <= channels * (1 + 1e-6)
    assert start.flatten(0, 1).std(0).min() > 0.1  # over positions, in every window
    assert length.flatten(0, 1).std(0).min() > 0.1


@pytest.mark.parametrize("windows", [1, 2, 4])
def test_dcs_windows_begin_spread_over_the_channels(windows):
    """Where the features are zero: half of the channels each, starts even over the room left."""
    channels = 25
    start, length = DCS(channels, windows=windows).windows(torch.zeros(1, channels, 2, 3))
    half = torch.full((1, 6, windows), 13.0)
    spread = 12 * (torch.arange(windows) + 0.5) / windows
    torch.testing.assert_close(length, half)
    torch.testing.assert_close(start, spread.expand(1, 6, windows))


@pytest.mark.parametrize("mode", list(MODES))
def test_dcs_windows_keep_their_fractions_under_autocast(mode):
    """bfloat16 counts channels above 128 in ones and above 256 in twos: too coarse for edges."""
    torch.manual_seed(0)
    block = DCS(320, mode=mode, windows=2)
    with torch.autocast("cpu", torch.bfloat16):
        start, length = block.windows(feature_map(1, 320, 8, 4))
    for edge in (length, start + length):
        above = edge[edge > 128].float()
        assert above.numel() > 20
        assert (above % 1).count_nonzero() > above.numel() / 2


@pytest.mark.parametrize("windows", [0, -1])
def test_dcs_without_windows_is_refused(windows):
    with pytest.raises(ValueError, match=f"windows.*{windows}"):
        build_attention("dcs", 8, windows=windows)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sa", {"ratio": 0}),
        ("sa", {"ratio": 1.5}),
        ("dcs_pos", {"ratio": -0.5}),
        ("dcs_pos", {"windows": 0}),
        ("dcs_dim", {"windows": 1.5}),
        ("dcs_dim", {"min_length": 0}),
        ("dcs_sw", {"min_length": -1}),
        ("gsa", {"temperature": 0}),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(kind, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        build_attention(kind, 8, **options)


@every_reading
@pytest.mark.parametrize("width", [3, 16, 19])
def test_windows_reach_the_channels_that_a_search_keeps(kind, options, width):
    """A map whose last channels are zero, read within its first ones: as a block of so many."""
    torch.manual_seed(0)
    wide = build_attention(kind, 24, zero_init=False, **options).double().eval()
    for name, parameter in wide.named_parameters():
        if "logit" in name:
            torch.nn.init.normal_(parameter)
    narrow = build_attention(kind, width, **options).double().eval()
    state = wide.state_dict()
    narrow.load_state_dict(
        {k: state[k][tuple(map(slice, v.shape))] for k, v in narrow.state_dict().items()}
    )
    x = random_features(2, 24, 5, 3)
    x[:, width:] = 0
    expected = narrow.branch(x[:, :width])
    for reach in (width, torch.tensor(float(width))):
        torch.testing.assert_close(wide.branch(x, reach)[:, :width], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["dcs", "dcs_pos", "dcs_dim", "dcs_sw"])
def test_a_gradient_passes_through_the_reach(kind):
    block = build_attention(kind, 24, zero_init=False)
    reach = torch.tensor(20.3, requires_grad=True)
    block(feature_map(2, 24, 5, 3), reach).square().sum().backward()
    assert reach.grad != 0
