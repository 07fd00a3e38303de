"""The page in Chromium: search, filter, mark, go back, by mouse and by keyboard, at any width."""

import os
import re
import subprocess
import sys

import pytest
from helpers.browser import show_as, start_browser

from reid_dcs.gallery import Gallery

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(people, weights, tmp_path_factory):
    """A page in a process of its own, as ``reid-dcs gallery serve`` starts it."""
    place = str(tmp_path_factory.mktemp("served") / "people.db")
    with Gallery.open(place, device="cpu") as gallery:
        gallery.add(people, weights)
    code = "from reid_dcs.cli import main; main()"
    given = ("gallery", "serve", "--gallery", place, "--port", "0", "--device", "cpu")
    server = subprocess.Popen(
        [sys.executable, "-c", code, *given], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    yield server.stdout.readline().strip()
    server.terminate()
    assert server.wait(30) == 128 + 15


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from start_browser(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def page(browser, address):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    class Page:
        def open(self, path=""):
            browser.get(address + path)

        def all(self, css):
            return browser.find_elements(By.CSS_SELECTOR, css)

        def click(self, css, number=0):
            self.wait(lambda: len(self.all(css)) > number)
            self.all(css)[number].click()

        def wait(self, condition):
            from selenium.common.exceptions import StaleElementReferenceException as Stale

            WebDriverWait(browser, 30, ignored_exceptions=[Stale]).until(lambda _: condition())

        def hits(self):
            return [e.get_attribute("id")[5:] for e in self.all("#hits a[id^=same-]")]

        def pressed(self):
            return [e.get_attribute("id") for e in self.all("a[aria-pressed=true]")]

        def check_quiet(self):
            assert browser.get_log("browser") == []

    show_as(browser, 1200, "light")
    found = Page()
    found.open()
    found.driver = browser
    yield found
    found.check_quiet()


def test_a_click_searches_a_filter_narrows_and_back_goes_back(page):
    page.click("a.ask", 3)
    page.wait(lambda: len(page.hits()) == 24)
    asked, hits = page.driver.current_url, page.hits()
    assert "like=" in asked
    page.driver.execute_script("window.kept = true")  # htmx exchanges <main>, not the page
    camera = page.all("#camera option")[2]
    camera.click()
    page.click("#filter")
    page.wait(lambda: 0 < len(page.hits()) < 24)
    assert "camera=2" in page.driver.current_url
    assert page.driver.execute_script("return window.kept") is True
    shown = {e.text for e in page.all("#hits .card span") if e.text.startswith("camera")}
    assert shown == {"camera 2"}
    page.driver.back()
    page.wait(lambda: page.hits() == hits)
    assert page.driver.current_url == asked
    page.driver.forward()
    page.wait(lambda: len(page.hits()) < 24)


def test_marks_are_asked_again_and_taken_back(page):
    page.click("a.ask")
    page.wait(lambda: len(page.hits()) == 24)
    first, second, *_ = page.hits()
    page.click(f"#same-{first}")
    page.wait(lambda: page.pressed() == [f"same-{first}"])
    page.click(f"#other-{second}")
    page.wait(lambda: len(page.pressed()) == 2)
    page.click("#again")
    page.wait(lambda: not {first, second} & {*page.hits()} and page.hits())
    assert len(page.all(".marked.same img")) == len(page.all(".marked.other img")) == 1
    page.driver.back()
    page.wait(lambda: page.hits()[:2] == [first, second])
    page.click(f"#same-{first}")
    page.wait(lambda: page.pressed() == [f"other-{second}"])


def test_the_keyboard_reaches_everything_and_keeps_its_place(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.click("a.ask")
    page.wait(lambda: len(page.hits()) == 24)
    first = page.hits()[0]

    def focused():
        return page.driver.switch_to.active_element.get_attribute("id")

    for _ in range(40):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        if focused() == f"same-{first}":
            break
    assert focused() == f"same-{first}"
    ActionChains(page.driver).send_keys(Keys.SPACE).perform()
    page.wait(lambda: page.pressed() == [f"same-{first}"])
    assert focused() == f"same-{first}"
    ActionChains(page.driver).send_keys(Keys.TAB, Keys.ENTER).perform()
    page.wait(lambda: page.pressed() == [f"other-{first}"])
    style = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.driver.execute_script(style) == "solid"


def test_a_picture_is_uploaded(page, query, tmp_path):
    page.all("#image")[0].send_keys(str(query))
    page.click("#upload button")
    page.wait(lambda: len(page.hits()) == 24)
    assert re.search(r"\?upload=[0-9a-f]{32}$", page.driver.current_url)
    page.wait(lambda: page.all(".question img")[0].get_property("naturalWidth") > 0)


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_the_page_fits_the_window_light_and_dark(page, width, scheme, dark):
    show_as(page.driver, width, scheme)
    for _ in range(2):  # the first page, and an answer
        script = "return document.documentElement.scrollWidth"
        assert page.driver.execute_script(script) <= width
        color = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        lightness = sum(map(int, re.findall(r"\d+", color)[:3])) / 3
        assert lightness < 60 if dark else lightness > 200
        loaded = "return [...document.images].slice(0, 4).map(i => i.complete && i.naturalWidth)"
        page.wait(lambda script=loaded: all(page.driver.execute_script(script)))
        page.click("a.ask")
        page.wait(lambda: page.hits())
