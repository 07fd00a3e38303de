"""curves.png is a picture, for runs with and without evaluations on the way."""

import pytest
from PIL import Image

from reid_dcs.visual.curves import curve_figures, draw_curves

EPOCH = {"identity": 2.0, "triplet": 0.5, "accuracy": 0.4}


@pytest.mark.parametrize("history", [[EPOCH], [EPOCH, EPOCH | {"mAP": 0.3, "rank1": 0.5}]])
def test_curves_are_drawn(tmp_path, history):
    draw_curves(history, "a run", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1080, 408)
        assert len(picture.convert("RGB").getcolors(2**20)) > 20
    assert list(tmp_path.iterdir()) == [tmp_path / "curves.png"]


def test_scores_of_the_parts_of_a_joint_data_set_are_scores():
    history = [EPOCH | {"market1501/mAP": 0.3, "market1501/rank1": 0.5, "msmt17/mAP": 0.2}]
    losses, scores = (
        figure.axes[0].get_legend_handles_labels()[1] for figure in curve_figures(history)
    )
    assert losses == ["identity", "triplet"]
    assert scores == [
        "accuracy in training",
        "rank-1 in test: market1501",
        "mAP in test: market1501",
        "mAP in test: msmt17",
    ]
