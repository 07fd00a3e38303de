"""The report of an evaluation: what stands in it, and that a browser shows it."""

import base64
import io
import re
import shutil

import pytest
import torch
from helpers.commands import assert_refused
from PIL import Image

from reid_dcs import build_model, runs
from reid_dcs.config import TrainRun, compose, to_layer
from reid_dcs.report.page import Column, Paragraph, Report, Section, Table, render

HISTORY = [{"identity": 5.0, "triplet": 1.0, "accuracy": 0.1, "seconds": 1.0} for _ in range(3)]


def evaluate(folder, root, kind, **more):
    """The page of an evaluation of a network that is not trained."""
    torch.manual_seed(0)
    name = f"mobilenetv2_{kind}"
    content = {
        "state_dict": build_model(name, 5).state_dict(),
        "model": {"name": name, "options": {}, "num_classes": 5},
        "preprocessing": {"height": 64, "width": 32},
        "config": to_layer(compose(TrainRun, {"model": {"name": name}})),
    }
    folder.mkdir()
    torch.save(content | more, folder / "weights.pt")
    settings = {"weights": str(folder / "weights.pt"), "report": True}
    runs.evaluate(
        {"eval": settings, "data": {"root": str(root)}, "output_dir": str(folder), "device": "cpu"}
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tiny_root, tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("report") / "dcs", tiny_root, "dcs", history=HISTORY)


def headings(page):
    return re.findall("<h2>(.*?)</h2>", page.read_text())


def test_it_has_everything(page):
    assert headings(page) == [
        "Results",
        "Training",
        "From camera to camera",
        "Query by query",
        "The worst queries",
        "The best queries",
        "What makes two images alike",
        "Which channels are selected",
        "Cost",
        "How it was made",
    ]
    text = page.read_text()
    for said in ("mAP", "mINP", "multiply-adds", "images/s", "name: mobilenetv2_dcs", "torch"):
        assert said in text


def test_what_is_not_there_is_left_out_or_said(tiny_root, tmp_path):
    page = evaluate(tmp_path / "base", tiny_root, "base")
    assert "Training" not in headings(page)
    assert "the network has no attention" in page.read_text()


def test_it_asks_nothing_of_a_network_and_its_pictures_are_whole(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert not re.findall(r"@import|url\((?!#)", text)
    pictures = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(pictures) > 80
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).load()
    assert len(re.findall("<img ", text)) == len(re.findall("<img [^>]*alt=", text))


def test_what_the_facts_hold_is_text():
    evil = "<script>alert(1)</script>"
    parts = [Paragraph(evil), Table(evil, [Column(evil)], [(evil,)])]
    text = render(Report(evil, [Paragraph(evil)], [Section(evil, parts)]))
    assert evil not in text and text.count("&lt;script&gt;") >= 7


def test_a_report_needs_a_folder(tool, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    given = ("--weights", "weights.pt", "--model", "mobilenetv2_dcs", "--report")
    assert_refused(tool("eval_reid.py", *given), "--output-dir")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("no chromium and chromedriver: apt install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for switch in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    def open_as(width: int, scheme: str = "light"):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        browser.get(page.as_uri())
        return browser

    return open_as


@pytest.mark.slow
@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_a_browser_shows_it_whole(opened, width, scheme, dark):
    browser = opened(width, scheme)
    images = browser.execute_script(
        "return [...document.images].map(image => image.complete && image.naturalWidth)"
    )
    assert images and all(images)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
    assert lightness < 60 if dark else lightness > 200
    assert browser.get_log("browser") == []  # no error, no warning


@pytest.mark.slow
def test_a_click_on_a_column_sorts(opened):
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
