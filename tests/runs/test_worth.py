"""What windows are worth: the evaluation behind each row, and the command."""

import json

import numpy as np
import pytest
import torch
from helpers.commands import assert_refused
from helpers.networks import CLASSES, active_model, settle
from PIL import Image
from torchreid import metrics as torchreids
from torchvision.transforms.v2.functional import normalize

from reid_dcs import InputError, build_model, runs
from reid_dcs.attention import SUBSTITUTIONS, substitute
from reid_dcs.config import TrainRun, compose, to_layer
from reid_dcs.data.datasets import load_dataset
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD

METRICS = ("mAP", "rank1", "rank5", "rank10", "mINP")


def save(folder, model, name, **options):
    """A checkpoint of a model for 64x32 images."""
    content = {
        "state_dict": model.state_dict(),
        "model": {"name": name, "options": options, "num_classes": CLASSES},
        "preprocessing": {"height": 64, "width": 32},
        "config": to_layer(compose(TrainRun, {"model": {"name": name}})),
    }
    path = folder / f"{'-'.join([name, *map(str, options.values())])}.pt"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def networks():
    """Untrained networks whose attention matters, by kind."""
    return {kind: settle(active_model(f"mobilenetv2_{kind}")) for kind in ("base", "sa", "dcs")}


@pytest.fixture(scope="module")
def weights(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        kind: save(folder, network, f"mobilenetv2_{kind}", mode="bilinear", bounds="clamp")
        if kind == "dcs"
        else save(folder, network, f"mobilenetv2_{kind}")
        for kind, network in networks.items()
    }


def settings(tiny_root, path, **others):
    evaluation = {"weights": str(path), **others.pop("eval", {})}
    return {"eval": evaluation, "data": {"root": str(tiny_root)}, "device": "cpu", **others}


@pytest.fixture(scope="module")
def found(tiny_root, weights):
    return {kind: runs.worth(settings(tiny_root, weights[kind], seed=5)) for kind in ("sa", "dcs")}


def evaluated(tiny_root, path):
    metrics = runs.evaluate(settings(tiny_root, path, eval={"keep_features": False}))
    return {name: metrics[name] for name in METRICS}


def test_a_network_has_the_rows_that_are_meaningful(found):
    assert list(found["dcs"]["rows"]) == ["as_trained", *SUBSTITUTIONS]
    assert list(found["sa"]["rows"]) == ["as_trained", "all_channels", "removed"]
    assert len({row["mAP"] for row in found["dcs"]["rows"].values()}) == 5


@pytest.mark.parametrize("kind", ["sa", "dcs"])
def test_as_trained_is_what_eval_gives(found, weights, tiny_root, kind):
    assert found[kind]["rows"]["as_trained"] == evaluated(tiny_root, weights[kind])


@pytest.mark.parametrize("kind", ["sa", "dcs"])
@pytest.mark.parametrize(
    "row, twin, options",
    [("removed", "mobilenetv2_base", {}), ("all_channels", "mobilenetv2_sa", {"ratio": 1.0})],
)
def test_a_row_is_the_evaluation_of_another_network_of_the_same_weights(
    found, networks, tiny_root, tmp_path, kind, row, twin, options
):
    model = build_model(twin, CLASSES, **options)
    state = networks[kind].state_dict()
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    expected = evaluated(tiny_root, save(tmp_path, model, twin, **options))
    assert found[kind]["rows"][row] == pytest.approx(expected)


@pytest.mark.parametrize(
    "row",
    ["shuffled", *(pytest.param(r, marks=pytest.mark.slow) for r in ("as_trained", "random"))],
)
def test_a_row_is_that_of_torchreids_evaluation_of_pixels_read_here(
    found, networks, tiny_root, row
):
    model = networks["dcs"]
    model = model if row == "as_trained" else substitute(model, row, seed=5)
    dataset = load_dataset("synthetic", str(tiny_root), {})
    features = {}
    for split in ("query", "gallery"):
        pixels = [
            np.asarray(Image.open(path).convert("RGB").resize((32, 64), Image.Resampling.BILINEAR))
            for path, *_ in getattr(dataset, split)
        ]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            features[split] = torch.nn.functional.normalize(
                torch.cat([model(normalize(x[None], IMAGENET_MEAN, IMAGENET_STD)) for x in images])
            )
    distances = 1 - features["query"] @ features["gallery"].T
    (_, q_pids, q_cams, *_), (_, g_pids, g_cams, *_) = (
        map(np.array, zip(*getattr(dataset, split), strict=True)) for split in features
    )
    labels = (q_pids, g_pids, q_cams, g_cams)
    cmc, mAP = torchreids.evaluate_rank(distances.numpy(), *labels, max_rank=20, use_cython=False)
    assert found["dcs"]["rows"][row]["mAP"] == pytest.approx(mAP, abs=2e-3)
    assert found["dcs"]["rows"][row]["rank1"] == pytest.approx(cmc[0], abs=0.03)


@pytest.mark.slow
def test_a_seed_gives_the_same_rows_and_another_seed_others(found, weights, tiny_root):
    again = runs.worth(settings(tiny_root, weights["dcs"], seed=5))
    assert again == found["dcs"]
    other = runs.worth(settings(tiny_root, weights["dcs"], seed=6))["rows"]
    for row, metrics in found["dcs"]["rows"].items():
        assert (other[row] == metrics) == (row not in ("shuffled", "random"))


def test_the_command_prints_a_table_and_writes_files(tool, found, weights, tiny_root, tmp_path):
    given = ("worth", "--weights", weights["dcs"], "--root", tiny_root, "seed=5", "device=cpu")
    result = tool("channels.py", *given, "--output-dir", "out", "--json", "found.json")
    assert result.returncode == 0, result.stderr
    for file in ("found.json", "out/worth.json"):
        assert json.loads((tmp_path / file).read_text()) == found["dcs"]
    table = result.stdout.splitlines()[-5:]
    rows = found["dcs"]["rows"]
    for line, (name, row) in zip(table, rows.items(), strict=True):
        assert line.startswith({"as_trained": "as trained", **SUBSTITUTIONS}[name])
        numbers = [float(word) for word in line.split() if word[-1].isdigit()]
        change = row["mAP"] - rows["as_trained"]["mAP"]
        expected = [row["mAP"]] if name == "as_trained" else [row["mAP"], change]
        assert numbers[: len(expected)] == pytest.approx([100 * v for v in expected], abs=6e-3)


@pytest.mark.slow
def test_json_without_a_file_is_all_of_the_standard_output(tool, found, weights, tiny_root):
    given = ("worth", "--weights", weights["sa"], "--root", tiny_root, "seed=5", "device=cpu")
    result = tool("channels.py", *given, "--json")
    assert json.loads(result.stdout) == found["sa"]
    assert "all channels selected" in result.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], ["no weights given", "--weights"]),
        (["--weights", "absent.pt"], ["no weights at", "absent.pt"]),
        (["--weights", "BASE"], ["mobilenetv2_base.pt holds mobilenetv2_base", "no attention"]),
        (
            ["--weights", "DCS", "--json", "absent/a.json"],
            ["cannot write absent/a.json", "No such"],
        ),
        (["--weights", "DCS", "--json", "."], ["cannot write .", "Is a directory"]),
        (["--weights", "DCS", "--json", "seed=3"], ["--json takes a file, not seed=3"]),
        (["--weights", "DCS", "--output-dir", "taken"], ["cannot write to taken"]),
        (
            ["--weights", "DCS", "--dataset", "ducks", "--output-dir", "out"],
            ["unknown data set 'ducks'"],
        ),
        (["--weights", "DCS", "eval.ranks=5"], ["channels worth would ignore eval.ranks"]),
        (["--weights", "DCS", "train.epochs=5"], ["channels worth would ignore train.epochs"]),
        (["--weights", "DCS", "--model", "mobilenetv2_sa"], ["holds mobilenetv2_dcs, not"]),
        (["--weights", "DCS", "--images", "a.jpg"], ["unrecognized arguments: --images"]),
    ],
)
def test_mistakes(tool, weights, tiny_root, tmp_path, arguments, said):
    (tmp_path / "taken").write_text("a file")
    paths = {"BASE": weights["base"], "DCS": weights["dcs"]}
    given = [paths.get(argument, argument) for argument in arguments]
    assert_refused(tool("channels.py", "worth", "--root", tiny_root, *given), *said)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_torchreids_own_models_have_no_attention(tool, tiny_root, tmp_path):
    torch.save(build_model("osnet_x0_25", CLASSES).state_dict(), tmp_path / "osnet.pth")
    given = ("--weights", "osnet.pth", "--model", "osnet_x0_25", "--root", tiny_root)
    assert_refused(tool("channels.py", "worth", *given), "osnet.pth holds osnet_x0_25", "attention")


def test_the_section_of_the_report_needs_a_report_and_attention(weights, tiny_root, tmp_path):
    given = settings(tiny_root, weights["dcs"], eval={"worth": True})
    with pytest.raises(InputError, match="eval.worth is a section of the report: pass --report"):
        runs.evaluate(given)
    output = tmp_path / "out"
    given = settings(tiny_root, weights["base"], eval={"worth": True, "report": True})
    with pytest.raises(InputError, match="no attention"):
        runs.evaluate(given | {"output_dir": str(output)})
    assert not output.exists()
