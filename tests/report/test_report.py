"""HTML report of an evaluation: its contents, and its display in a browser."""

import base64
import io
import json
import re
import shutil
import statistics

import pytest
import torch
from helpers.browser import show_as, start_browser
from helpers.commands import assert_refused
from PIL import Image

from reid_dcs import build_model, runs
from reid_dcs.attention import SUBSTITUTIONS
from reid_dcs.config import TrainRun, compose, to_layer
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.report.page import Column, Paragraph, Report, Section, Table, render

HISTORY = [{"identity": 5.0, "triplet": 1.0, "accuracy": 0.1, "seconds": 1.0} for _ in range(3)]


def evaluate(folder, root, attention, worth=False, name="synthetic", **content):
    """Evaluate an untrained network and return the path of its report."""
    torch.manual_seed(0)
    model = f"mobilenetv2_{attention}"
    checkpoint = {
        "state_dict": build_model(model, 5).state_dict(),
        "model": {"name": model, "options": {}, "num_classes": 5},
        "preprocessing": {"height": 64, "width": 32},
        "config": to_layer(compose(TrainRun, {"model": {"name": model}})),
    }
    folder.mkdir()
    torch.save(checkpoint | content, folder / "weights.pt")
    settings = {"weights": str(folder / "weights.pt"), "report": True, "worth": worth}
    data = {"name": name, "root": str(root)}
    runs.evaluate({"eval": settings, "data": data, "output_dir": str(folder), "device": "cpu"})
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tiny_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "dcs"
    return evaluate(folder, tiny_root, "dcs", worth=True, history=HISTORY)


def headings(page):
    return re.findall("<h2>(.*?)</h2>", page.read_text())


def test_a_report_has_every_section(page):
    assert headings(page) == [
        "Results",
        "Training",
        "Camera pairs",
        "Queries",
        "Worst queries",
        "Best queries",
        "Image similarity",
        "Selected channels",
        "What the windows are worth",
        "Cost",
        "Reproducibility",
    ]
    text = page.read_text()
    for word in ("mAP", "mINP", "multiply-adds", "images/s", "name: mobilenetv2_dcs", "torch"):
        assert word in text


@pytest.mark.slow
def test_names_that_are_not_utf8_are_shown_escaped(tiny_root, tmp_path):
    home = tmp_path / "dollar$sign_{$/synthetic"
    shutil.copytree(tiny_root / "synthetic", home)
    for path in sorted((home / "query").iterdir()):
        path.rename(path.with_name(path.name.replace("_00.jpg", "_\udcff.jpg")))
    page = evaluate(tmp_path / "$run$", home.parent, "base")
    assert "000000_\\udcff.jpg" in page.read_text(encoding="utf-8")


def test_missing_history_and_attention_are_handled(tiny_root, tmp_path):
    page = evaluate(tmp_path / "base", tiny_root, "base")
    assert not {"Training", "What the windows are worth"} & {*headings(page)}
    assert "the network has no attention" in page.read_text()


def test_the_section_about_windows_has_the_rows_of_the_command(tiny_root, page):
    section = page.read_text().split(">What the windows are worth</h2>")[1].split("<h2")[0]
    rows = re.findall("<tr>(.*?)</tr>", section, re.DOTALL)[1:]
    cells = [re.findall(">([^<>]+)</t[hd]>", row) for row in rows]
    assert [row[0] for row in cells] == ["as trained", *SUBSTITUTIONS.values()]
    found = runs.worth(
        {"eval": {"weights": str(page.parent / "weights.pt")}, "data": {"root": str(tiny_root)}}
    )["rows"]
    trained = found["as_trained"]
    for shown, metrics in zip(cells, found.values(), strict=True):
        for place, name in enumerate(("mAP", "rank1", "mINP")):
            value, change = shown[1 + 2 * place : 3 + 2 * place]
            assert value == f"{100 * metrics[name]:.2f}"
            difference = f"{100 * (metrics[name] - trained[name]):+z.2f}"
            assert change == ("–" if metrics is trained else difference)
    assert "A row that is as good as the network as trained" in section


@pytest.fixture(scope="module")
def renamed(tiny_root, tmp_path_factory):
    """A report on tables whose cameras are called 3 and 7, people by words, and their folder."""
    root = tmp_path_factory.mktemp("folder")
    for split, table in (("query", "query.csv"), ("bounding_box_test", "gallery.csv")):
        (root / split).mkdir()
        lines = ["path,identity,camera"]
        for path in sorted((tiny_root / "synthetic" / split).iterdir()):
            for old, camera in (("_c1s1", "3"), ("_c2s1", "7")):
                if old in path.name:
                    name = path.name.replace(old, f"_c{camera}s1")
                    shutil.copy(path, root / split / name)
                    lines.append(f"{split}/{name},p{name[:4]},{camera}")
        (root / table).write_text("\n".join(lines))
    output = tmp_path_factory.mktemp("report") / "folder"
    return evaluate(output, root, "dcs", name="folder"), root


def table_cells(page, heading):
    """Cells of the first table under a heading, by row."""
    section = page.read_text().split(f">{heading}</h2>")[1].split("<h2")[0].split("</table>")[0]
    rows = re.findall("<tr>(.*?)</tr>", section, re.DOTALL)[1:]
    return [re.findall(">([^<>]+)</t[hd]>", row) for row in rows]


def test_results_are_those_of_the_metrics(page):
    metrics = json.loads((page.parent / "metrics.json").read_text())
    for name, value, _ in table_cells(page, "Results"):
        assert value == f"{metrics[name]:.1%}"
    summary = f"mAP {metrics['mAP']:.1%} and rank-1 {metrics['rank1']:.1%}: "
    assert summary in page.read_text()


def test_queries_and_cameras_have_the_figures_and_names_of_the_data_set(renamed):
    page, root = renamed
    extractor = FeatureExtractor(page.parent / "weights.pt", device="cpu")
    query, gallery = (sorted((root / part).iterdir()) for part in ("query", "bounding_box_test"))
    similarity = extractor([*map(str, query)]) @ extractor([*map(str, gallery)]).T

    def ranked(row, cameras="37"):
        """Person and similarity of the gallery images of some cameras, as the query ranks them."""
        person_and_camera = query[row].name[:7]
        order = similarity[row].argsort(descending=True).tolist()
        names = [(gallery[i].name[:7], float(similarity[row, i])) for i in order]
        names = [(name, value) for name, value in names if name != person_and_camera]
        return [(name[:4], value) for name, value in names if name[6] in cameras]

    def matches(row, cameras="37"):
        """Ranks of the matches."""
        people = enumerate(ranked(row, cameras), 1)
        return [rank for rank, (person, _) in people if person == query[row].name[:4]]

    def precision(ranks):
        return statistics.mean(found / rank for found, rank in enumerate(ranks, 1))

    names = [path.name for path in query]
    cells = table_cells(page, "Queries")
    assert len(cells) == len(query)
    for name, person, camera, score, first, *_, number in cells:
        assert f"{person}_c{camera}s1" in f"p{name}"  # 3 or 7
        ranks = matches(names.index(name))
        expected = [f"{precision(ranks):.1%}", str(ranks[0]), str(len(ranks))]
        assert [score, first, number] == expected
    pairs = {(row[0], row[1]): row[2:] for row in table_cells(page, "Camera pairs")}
    assert set(pairs) == {("3", "7"), ("7", "3")}
    for (of_query, of_gallery), shown in pairs.items():
        rows = [i for i, path in enumerate(query) if f"_c{of_query}s1" in path.name]
        found = [matches(row, of_gallery) for row in rows]
        mean = statistics.mean(map(precision, found))
        first = statistics.mean(ranks[0] == 1 for ranks in found)
        assert shown == [str(len(rows)), f"{mean:.1%}", f"{first:.1%}"]
    lists = re.findall('<figure class="ranked">(.*?)</figure>', page.read_text(), re.DOTALL)
    assert len(lists) == 8  # four worst, four best
    for found in lists:
        name = re.search("<figcaption>(.*?):", found)[1]
        nearest = ranked(names.index(name))[:10]
        marks = re.findall(r"<span>([✓✗]) ([\d.]+)</span>", found)
        assert [mark for mark, _ in marks] == ["✗✓"[person == name[:4]] for person, _ in nearest]
        distances = [float(distance) for _, distance in marks]
        assert distances == pytest.approx([1 - value for _, value in nearest], abs=6e-4)


def test_the_page_is_self_contained_and_its_images_are_complete(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert not re.findall(r"@import|url\((?!#)", text)
    images = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(images) > 80
    for image in images:
        Image.open(io.BytesIO(base64.b64decode(image))).load()
    assert len(re.findall("<img ", text)) == len(re.findall("<img [^>]*alt=", text))


def test_text_is_escaped():
    script = "<script>alert(1)</script>"
    parts = [Paragraph(script), Table(script, [Column(script)], [(script,)])]
    text = render(Report(script, [Paragraph(script)], [Section(script, parts)]))
    assert script not in text and text.count("&lt;script&gt;") >= 7


def test_a_report_needs_an_output_folder(tool, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    given = ("--weights", "weights.pt", "--model", "mobilenetv2_dcs", "--report")
    assert_refused(tool("eval_reid.py", *given), "--output-dir")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from start_browser(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def opened(browser, page):
    def open_as(width: int, scheme: str = "light"):
        show_as(browser, width, scheme)
        browser.get(page.as_uri())
        return browser

    return open_as


@pytest.mark.slow
@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_a_browser_displays_the_page_within_the_window(opened, width, scheme, dark):
    browser = opened(width, scheme)
    images = browser.execute_script(
        "return [...document.images].map(image => image.complete && image.naturalWidth)"
    )
    assert images and all(images)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", color)[:3])) / 3
    assert lightness < 60 if dark else lightness > 200
    assert browser.get_log("browser") == []  # no error, no warning


@pytest.mark.slow
def test_clicking_a_column_title_sorts_the_table(opened):
    browser = opened(1200)
    script = """
        const titles = [...document.querySelectorAll("th")];
        const title = titles.find(th => th.innerText.startsWith("AP"));
        const values = () => [...title.closest("table").tBodies[0].rows]
            .map(row => Number(row.cells[title.cellIndex].dataset.value));
        const found = [];
        for (let i = 0; i < 2; i++) {
            title.querySelector("button").click();
            found.push([title.getAttribute("aria-sort"), values()]);
        }
        return found;
    """
    (up, rising), (down, falling) = browser.execute_script(script)
    assert (up, down) == ("ascending", "descending")
    assert rising == sorted(rising) and falling == sorted(rising, reverse=True)
    assert len(set(rising)) > 5
