"""Write docs/report.html, the report of the zoo's network on generated people, and photograph it in
Chromium for docs/report.jpg: the first page, and the worst queries.

python docs/draw_report.py
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from reid_dcs.files import written_whole

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY / "tests"))
from helpers.browser import show_as, start_browser  # noqa: E402

EVALUATE = "tools/eval_reid.py --weights mobilenetv2_dcs_synthetic --output-dir OUT --report"
WIDTH, HEIGHT, GAP = 640, 800, 16
QUALITY = 82


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tools").symlink_to(REPOSITORY / "tools")  # the command as a reader would give it
        command = [sys.executable, *EVALUATE.split(), "eval.worth=true"]
        subprocess.run(command, cwd=place, check=True)
        page = (place / "OUT/report.html").read_text()
        views = photograph(place / "OUT/report.html", place / "profile")
    picture = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), "white")
    for number, view in enumerate(views):
        picture.paste(Image.open(io.BytesIO(view)), (number * (WIDTH + GAP), 0))
    with written_whole(REPOSITORY / "docs/report.jpg") as file:
        picture.save(file, "JPEG", quality=QUALITY)
    with written_whole(REPOSITORY / "docs/report.html") as file:
        file.write(page.encode())


def photograph(report: Path, profile: Path) -> list[bytes]:
    """PNGs of the top of the page and of the worst queries."""
    for driver in start_browser(profile):
        show_as(driver, WIDTH, "light")
        driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        driver.get(report.as_uri())
        top = driver.get_screenshot_as_png()
        driver.find_element("link text", "Worst queries").click()
        return [top, driver.get_screenshot_as_png()]
    raise AssertionError


if __name__ == "__main__":
    main()
