"""Affinities and selected channels, compared with loops over positions."""

import numpy as np
import pytest
import torch
from helpers.attention_kinds import WINDOWED, every_reading

import reid_dcs
from reid_dcs import InputError
from reid_dcs.attention import attention_inputs, build_attention
from reid_dcs.visual.affinity import affinities, draw_affinities
from reid_dcs.visual.windows import draw_channels, draw_windows, selections

CHANNELS, HEIGHT, WIDTH = 12, 4, 3


def block_and_map(kind, **options):
    torch.manual_seed(0)
    block = build_attention(kind, CHANNELS, **options).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block, torch.randn(2, CHANNELS, HEIGHT, WIDTH)


@every_reading
def test_affinity_rows_give_the_output_of_the_block(kind, options):
    block, x = block_and_map(kind, **options)
    positions = HEIGHT * WIDTH
    rows = block.affinities(x, range(positions))  # all of R
    tokens = x.flatten(2).mT
    with torch.no_grad():
        attended = block.attend_map(x)
    scale = 1 if "softmax" in options.values() else positions
    torch.testing.assert_close(rows @ tokens / scale, attended, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(block.affinities(x, [5, 2]), rows[:, [5, 2]])


def test_an_affinity_uses_the_window_of_the_query():
    """Eq. (2) with whole channels, by a loop over pairs of positions."""
    block, x = block_and_map("sa", ratio=0.5)
    tokens = x.flatten(2).mT[0]
    rows = block.affinities(x, [0, 7])[0]
    for row, i in zip(rows, (0, 7), strict=True):
        for j in range(HEIGHT * WIDTH):
            expected = sum(tokens[i, c] * tokens[j, c] for c in range(CHANNELS // 2))
            assert row[j].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("point, position", [((0, 0), 0), ((0.99, 0), 1), ((0.2, 0.99), 14)])
def test_a_point_selects_the_position_that_contains_it(point, position):
    torch.manual_seed(0)
    model, image = reid_dcs.build_model("mobilenetv2_dcs", 5).eval(), torch.randn(1, 3, 128, 32)
    maps = affinities(model, image, [point])
    assert list(maps) == list(attention_inputs(model, image))
    *_, (name, (block, x)) = attention_inputs(model, image).items()  # 8 x 2 positions
    np.testing.assert_allclose(maps[name][0].ravel(), block.affinities(x, [position])[0, 0])


@pytest.mark.parametrize("kind", WINDOWED)
def test_selections_equal_a_loop_over_positions(kind):
    block, x = block_and_map(kind)
    (found,) = selections(torch.nn.Sequential(block), x.split([1, 1]))
    assert found.channels == CHANNELS and found.selected.shape == (2, HEIGHT, WIDTH)
    with torch.no_grad():
        start, length = (v.expand(2, HEIGHT * WIDTH, v.shape[-1]) for v in block.windows(x))
    total = np.zeros(CHANNELS)
    for b in range(2):
        for i in range(HEIGHT * WIDTH):
            windows = [*zip(start[b, i].tolist(), length[b, i].tolist(), strict=True)]
            weights = [
                max(max(0, min(s + w, p + 1) - max(s, p)) for s, w in windows)
                for p in range(CHANNELS)
            ]
            total += weights
            row, column = divmod(i, WIDTH)
            maps = found.start, found.length, found.selected
            expected = [np.mean(values) / CHANNELS for values in zip(*windows, strict=True)]
            assert [m[b, row, column] for m in maps] == pytest.approx(
                [*expected, np.mean(weights)], abs=1e-5
            )
    np.testing.assert_allclose(found.weight, total / (2 * HEIGHT * WIDTH), atol=1e-5)


def test_a_mask_has_no_windows_and_selects_channels():
    block, x = block_and_map("dcs_mask")
    (found,) = selections(torch.nn.Sequential(block), x.split([1, 1]))
    mask = (block.logits(x) > 0).float().detach().numpy()  # (B, N, C)
    np.testing.assert_allclose(found.weight, mask.mean((0, 1)), atol=1e-6)
    shares = mask.mean(-1).reshape(2, HEIGHT, WIDTH)
    np.testing.assert_allclose(found.selected, shares, atol=1e-6)
    assert np.isnan(found.start).all() and np.isnan(found.length).all()
    figure = draw_windows(np.full((40, 20, 3), 200, dtype=np.uint8), [found])
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes[:4]]
    assert said == [[], ["no windows"], ["no windows"], []]


def test_a_network_without_attention_is_refused():
    model, image = reid_dcs.build_model("mobilenetv2_base", 5), torch.zeros(1, 3, 64, 32)
    for call in (lambda: affinities(model, image, [(0, 0)]), lambda: selections(model, [image])):
        with pytest.raises(InputError, match="no attention"):
            call()


def test_figures_have_one_row_per_point_and_per_stage():
    pixels = np.full((40, 20, 3), 200, dtype=np.uint8)
    maps = np.random.default_rng(0).normal(size=(2, 4, 2))
    figure = draw_affinities(pixels, [(0.25, 0.5), (0.75, 0.5)], [maps, maps], ["one", "two"])
    grid = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in grid[0]] == ["query", "one", "two"]
    square, circle = grid[1, 2].lines
    assert square.get_xdata() == circle.get_xdata() == [14.5] and square.get_ydata() == [19.5]
    np.testing.assert_array_equal(grid[1, 1].images[1].get_array(), maps[1])

    _, x = block_and_map("dcs")
    found = selections(torch.nn.Sequential(*[block_and_map(k)[0] for k in ("sa", "dcs")]), [x])
    figure = draw_windows(pixels, found, 1)
    grid = np.array(figure.axes[:-1]).reshape(2, 4)
    np.testing.assert_array_equal(grid[1, 3].images[1].get_array(), found[1].selected[1])
    depth = draw_channels(found).axes[-1].lines[0]
    np.testing.assert_allclose(
        np.asarray(depth.get_ydata(), float), [block.selected.mean() for block in found]
    )
