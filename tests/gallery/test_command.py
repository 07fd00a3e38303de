"""The command ``reid-dcs gallery``."""

import json
import shutil

import pytest
from PIL import Image

from reid_dcs.cli import main
from reid_dcs.data.datasets.synthetic import Synthesis, draw_dataset


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command in this process: ``status, stdout, stderr``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = 0
        try:
            main(["gallery", *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return run


def refused(result, *said):
    status, _, stderr = result
    assert status == 2, stderr
    (line,) = stderr.strip().splitlines()
    assert line.startswith("error: ")
    for part in said:
        assert part in line


def test_a_collection_is_indexed_and_searched(command, people, weights, query, tmp_path):
    place = ("--gallery", "people.db", "--device", "cpu")
    refused(command("search", *place, "--image", query), "no gallery at", "index")
    refused(command("index", people, *place), "is new: pass --weights")
    for flag in ("--every", "--confidence"):
        refused(command("index", people, *place, "--weights", weights, flag, 1), "pass --detect")
    status, out, _ = command("index", people, *place, "--weights", weights)
    assert status == 0 and "36 added, 0 unchanged, 0 removed; 36 pictures" in out
    asked = (*place, "--image", query, "--top", 4, "--not-camera", 1)
    _, out, _ = command("search", *asked, "--json", "--output", "ranks.png")
    hits = json.loads(out)["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    assert {"path", "identity", "camera", "similarity", "distance", "time"} <= hits[0].keys()
    assert "1" not in {hit["camera"] for hit in hits} and hits[0]["time"] is None
    assert Image.open("ranks.png").size[0] > 300
    _, out, _ = command("search", *asked)
    assert out.splitlines()[1].endswith(hits[0]["path"])
    _, out, _ = command("search", *asked, "--since", 0)
    assert out.splitlines() == ["no picture meets the filters"]
    for flag in ("--camera", "--not-camera"):
        said = "no picture of camera c1: its cameras are 1, 2, 3, 4, 5, 6"
        refused(command("search", *place, "--image", query, flag, "c1"), said)
    refused(command("search", *asked, "--output", "ranks.jpg"), "ranks.jpg", "must end in .png")
    early = command("search", *asked, "--output", "none/ranks.png")
    refused(early, "cannot write")
    assert not early[1]  # before the search
    refused(command("search", *asked, "--since", "soon"), "--since", "is no time")
    refused(command("search", *place, "--image", "none.jpg"), "none.jpg")
    refused(command("search", *place, "--image", query, "--weights", "no"), "no weights")


@pytest.mark.parametrize("content", [{}, {"a.jpg": b"text", "b.jpg": b""}, {"notes.txt": b"text"}])
def test_a_gallery_is_not_begun_without_a_picture(command, weights, tmp_path, content):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    given = ("index", folder, "--gallery", "people.db", "--weights", weights, "--device", "cpu")
    said = ("no picture can be read", "a.jpg", "1 more") if "a.jpg" in content else ("no pictures",)
    refused(command(*given), *said)
    assert [*tmp_path.iterdir()] == [folder]


def test_a_gallery_that_outgrows_its_file_is_told_of(command, people, weights, monkeypatch):
    monkeypatch.setattr("reid_dcs.gallery.embedded.LARGEST", 30)
    given = ("index", people, "--gallery", "people.db", "--weights", weights, "--device", "cpu")
    status, out, err = command(*given)
    assert status == 0 and "36 pictures in all" in out
    (line,) = [line for line in err.splitlines() if line.startswith("warning")]
    assert "more than 30 pictures" in line and "Milvus server" in line


def test_a_threshold_is_measured_and_printed_beside_answers(command, weights, query, tmp_path):
    draw_dataset(tmp_path / "synthetic", Synthesis(2, 4, 2))
    place = ("--gallery", "people.db", "--device", "cpu")
    command("index", "synthetic/bounding_box_test", *place, "--weights", weights)
    measure = ("threshold", "--dataset", "synthetic", "--root", ".", "--far", "0.1")
    status, out, _ = command(*measure, *place, "--output-dir", "out")
    assert status == 0 and "false-accept rate" in out
    measured = json.loads((tmp_path / "out/threshold.json").read_text())
    assert 0 < measured["far"] <= 0.1 and Image.open("out/threshold.png").size[0] > 600
    _, out, _ = command("search", *place, "--image", query, "--json")
    answer = json.loads(out)
    assert answer["threshold"] == measured
    for hit in answer["hits"]:
        assert hit["same"] == (hit["distance"] <= measured["distance"])
    _, out, _ = command("search", *place, "--image", query)
    assert out.startswith(f"same person: distance at most {measured['distance']:.4f}")
    refused(command(*measure[:-1], "1e-6", *place), "needs at least 1,000,000 pairs")
    refused(command(*measure), "no weights")


def test_a_threshold_that_cannot_be_written_is_not_measured(
    command, weights, tmp_path, monkeypatch
):
    draw_dataset(tmp_path / "synthetic", Synthesis(2, 4, 2))
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("reid_dcs.gallery.threshold._features", None)
    given = ("threshold", "--dataset", "synthetic", "--root", ".", "--weights", weights)
    for place in ("file", "file/out"):
        refused(command(*given, "--device", "cpu", "--output-dir", place), "cannot write")


def test_files_that_are_not_read_are_told_of_in_one_line(command, people, weights, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    given = ("index", folder, "--gallery", "people.db", "--weights", weights, "--device", "cpu")
    (folder / "film.mp4").write_bytes(b"x")
    refused(command(*given), "no pictures in", "1 video(s), which --detect reads")
    shutil.copy(sorted(people.iterdir())[0], folder)
    (folder / "x.heic").write_bytes(b"x")
    status, _, err = command(*given)
    (line,) = [line for line in err.splitlines() if line.startswith("warning")]
    assert status == 0 and "film.mp4" in line and "1 image(s) of a format" in line


@pytest.mark.parametrize("place", ["synthetic", "synthetic/query", "synthetic/query/out"])
def test_a_threshold_is_not_written_among_the_data(command, weights, tmp_path, place):
    draw_dataset(tmp_path / "synthetic", Synthesis(2, 4, 2))
    before = sorted(tmp_path.rglob("*"))
    given = ("threshold", "--dataset", "synthetic", "--root", ".", "--weights", weights)
    given += ("--device", "cpu", "--output-dir", place)
    refused(command(*given), f"{place} is in", "a folder of the data set")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("images", [["people"], ["1.jpg", "people"], ["people/", "1.jpg"]])
def test_a_question_is_no_folder(command, people, weights, tmp_path, images):
    shutil.copytree(people, tmp_path / "people")
    shutil.copy(sorted(people.iterdir())[0], tmp_path / "1.jpg")
    place = ("--gallery", "people.db", "--device", "cpu")
    assert command("index", "people", *place, "--weights", weights)[0] == 0
    refused(command("search", *place, "--image", *images), "--image people", "is a folder")
    assert command("search", *place, "--image", "1.jpg", "1.jpg")[0] == 0


def test_help_names_the_actions(command):
    status, out, _ = command("--help")
    assert status == 0
    for action in ("index", "search", "serve", "threshold"):
        assert f"\n  {action} " in out
    refused(command("find"), "invalid choice")
    assert "seconds from the start of a video" in " ".join(command("search", "--help")[1].split())
    refused(command("search", "--gallery", "x.db", "--image", "a", "--top", "0"), "--top")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["search", "--image", "a", "--top", "x"], "--top: invalid count value: 'x'"),
        (["index", "folder", "--every", "x"], "--every: invalid seconds value: 'x'"),
        (["index", "folder", "--confidence", "x"], "--confidence: invalid fraction value: 'x'"),
        (["serve", "--port", "x"], "--port: invalid port value: 'x'"),
        (["threshold", "--dataset", "a", "--far", "x"], "--far: invalid fraction value: 'x'"),
    ],
)
def test_a_wrong_number_is_named_by_what_it_is(command, arguments, said):
    refused(command(*arguments, "--gallery", "x.db"), said)
