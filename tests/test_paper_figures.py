"""The figures of the paper that the rows of ablations show beside ours."""

import pytest
from helpers.paths import REPOSITORY

from reid_dcs.config import SearchRun, compose, read_config

ABLATIONS = sorted((REPOSITORY / "configs/ablation").glob("*.yaml"))
SETS = "market1501", "dukemtmcreid", "msmt17"

# mAP and R1 on Market-1501, then on DukeMTMC-reID and on MSMT17 where they are printed
SCRATCH = {
    "mobilenetv2_base": "78.9 92.0",
    "mobilenetv2_dcs": "84.5 93.9 73.6 85.5 36.9 63.6",
    "mobilenetv2_200_dcs": "87.3 95.1 77.2 88.6 45.9 72.3",
}
IMAGENET = {
    "mobilenetv2_dcs": "85.0 94.7 75.2 86.7 52.7 78.2",
    "osnet_x1_0_dcs": "86.4 94.6 75.4 88.7 54.6 79.3",
    "mobilenetv2_dcs at 384": "86.3 95.0 76.4 88.2 56.2 79.9",
    "resnet50_dcs at 384": "88.4 96.0 76.3 88.4 56.2 80.3",
}
IMAGENET_200 = {
    "mobilenetv2_200_dcs": "87.1 95.1 78.6 89.1 54.8 78.5",
    "mobilenetv2_200_dcs at 384": "88.3 95.3 79.3 90.1 57.8 80.5",
}
DNAS = {
    "fbnetv2_xlarge_dcs of 1.809 G": "88.3 95.7 79.8 91.1 61.2 82.7",
    "fbnetv2_xlarge_dcs of 1.239 G": "88.2 95.6 79.5 90.6 61.0 82.5",
    "fbnetv2_large_dcs of 0.7 G": "87.1 94.7",  # Table 7
}
TABLE_7 = {
    "mobilenetv2_base": "78.9 92.0",
    "mobilenetv2_sa": "82.3 92.8",
    "mobilenetv2_dcs_pos": "82.9 93.1",
    "mobilenetv2_dcs_dim": "83.2 93.0",
    "mobilenetv2_gsa": "83.1 93.2",
    "mobilenetv2_dcs": "83.6 93.6",
}
TABLE_8 = {
    "mobilenetv2_sa": "82.3 92.8 71.4 84.4 36.2 62.8",
    "mobilenetv2_gsa": "83.1 93.2 72.5 85.3 36.3 62.7",
    "mobilenetv2_dcs": "83.6 93.6 73.3 85.5 36.5 63.0",
}

WHOLE = {
    "table1": SCRATCH,
    "table1_imagenet": IMAGENET,
    "table1_imagenet_200": IMAGENET_200,
    "table1_dnas": DNAS,
    "table7": TABLE_7,
    "table8": TABLE_8,
}
"""Files that have every row of their table."""

SMALL = {"market1501": IMAGENET, "market1501_scratch": SCRATCH, "market1501_claim": TABLE_7}
"""Files with some rows at a smaller scale, which show the figures for Market-1501."""


def shown(file) -> dict[str, dict[str, list[float]]]:
    """The figures of the paper in a file, by network."""
    given = read_config(file)
    found = {}
    for row in given["ablation"].get("rows", {}).values():
        if "paper" not in row:
            continue
        config = compose(SearchRun, given, {key: row[key] for key in row.keys() - {"paper"}})
        network, target = config.model.name, config.search.target_gmacs
        network += " at 384" * (config.data.height == 384) + f" of {target} G" * bool(target)
        assert network not in found, network
        found[network] = row["paper"]
    return found


def by_set(figures: str) -> dict[str, list[float]]:
    """``"mAP R1 mAP R1 ..."`` as a row's ``paper`` has it."""
    numbers = [float(number) for number in figures.split()]
    pairs = [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
    return dict(zip(SETS, pairs, strict=False))


@pytest.mark.parametrize("file", ABLATIONS, ids=lambda file: file.stem)
def test_the_figures_are_those_of_the_papers_table(file):
    found = shown(file)
    if file.stem in WHOLE:
        assert found == {name: by_set(row) for name, row in WHOLE[file.stem].items()}
    elif file.stem in SMALL:
        printed = SMALL[file.stem]
        assert found
        assert found == {name: {SETS[0]: by_set(printed[name])[SETS[0]]} for name in found}
    else:
        assert not found
