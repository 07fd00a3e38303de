"""Text of figures, compared with what Matplotlib finally draws."""

import io

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reid_dcs.visual.text import plain_text


@pytest.mark.parametrize(
    "text, drawn",
    [
        ("run $5$", "run $5$"),
        ("a$b_{$c", "a$b_{$c"),
        ("one $", "one $"),
        ("$\\frac{$", "$\\frac{$"),
        ("name-\udcff.jpg", "name-\\udcff.jpg"),
        ("été", "été"),
    ],
)
def test_every_text_is_drawn_as_it_is(text, drawn):
    figure = Figure()
    FigureCanvasAgg(figure)
    label = figure.suptitle(plain_text(text))
    assert label._preprocess_math(label.get_text()) == (drawn, False)
    for form in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=form)
