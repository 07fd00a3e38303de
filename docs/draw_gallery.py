"""Draw docs/gallery.jpg: the page of a gallery of generated people, in Chromium.

python docs/draw_gallery.py
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from reid_dcs.data.datasets.synthetic import Synthesis, draw_dataset
from reid_dcs.files import written_whole
from reid_dcs.gallery import Gallery
from reid_dcs.gallery.threshold import measure_threshold

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from helpers.browser import show_as, start_browser  # noqa: E402

WEIGHTS = "mobilenetv2_dcs_synthetic"
SERVE = "from reid_dcs.cli import main; main()"
WIDTH, HEIGHT = 1000, 1080
QUALITY = 82
COMPLETE = "return [...document.images].slice(0, 10).every(image => image.complete)"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw_dataset(root / "synthetic", Synthesis(test_identities=24))
        place = str(root / "people.db")
        with Gallery.open(place) as gallery:
            gallery.add(root / "synthetic/bounding_box_test", WEIGHTS)
            gallery.set_threshold(
                measure_threshold(gallery.extractor(), "synthetic", folder, 0.001)
            )
        given = ("gallery", "serve", "--gallery", place, "--port", "0")
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, *given], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            screen = photograph(server.stdout.readline().strip(), root / "profile")
        finally:
            server.terminate()
            server.wait()
    with written_whole(Path(__file__).with_name("gallery.jpg")) as file:
        Image.open(io.BytesIO(screen)).convert("RGB").save(file, "JPEG", quality=QUALITY)


def photograph(address: str, profile: Path) -> bytes:
    """A PNG of an answer with two marks."""
    from selenium.webdriver.support.wait import WebDriverWait

    for driver in start_browser(profile):
        show_as(driver, WIDTH, "light")
        driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        driver.get(address)
        click(driver, "a.ask", 7)
        wait = WebDriverWait(driver, 30)
        wait.until(lambda driver: driver.find_elements("css selector", "#hits .card"))
        click(driver, "a[id^=same-]", 0)
        wait.until(lambda driver: driver.find_elements("css selector", ".card.same"))
        click(driver, "a[id^=other-]", 7)
        wait.until(lambda driver: driver.find_elements("css selector", ".card.other"))
        driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
        wait.until(lambda driver: driver.execute_script(COMPLETE))
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        return driver.get_screenshot_as_png()
    raise AssertionError


def click(driver, css: str, number: int) -> None:
    driver.find_elements("css selector", css)[number].click()


if __name__ == "__main__":
    main()
