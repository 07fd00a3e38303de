"""A fresh container: no imported library needs a display."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from helpers.paths import REPOSITORY

DISPLAY = re.compile(r"/lib(GL|GLX|EGL|X11|xcb|Qt|gtk)[^/]*\.so")
IMPORT_ALL = """
import importlib, pkgutil, reid_dcs, torchreid
for module in pkgutil.walk_packages(reid_dcs.__path__, "reid_dcs."):
    importlib.import_module(module.name)
print(open("/proc/self/maps").read())
"""


def required() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    return [re.split(r"[<>=]", line)[0] for line in lines if line and line[0] != "#"]


def test_opencv_is_required_without_its_windows_alone():
    assert [name for name in required() if "opencv" in name] == ["opencv-python-headless"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux")
def test_nothing_that_is_imported_links_a_display():
    try:
        distribution("opencv-python")
    except PackageNotFoundError:
        pass
    else:
        pytest.skip("opencv-python, which is not required, is installed over the headless wheel")
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {line.split()[-1] for line in done.stdout.splitlines() if ".so" in line}
    of_the_system = {path for path in loaded if ".libs/" not in path}  # wheels bring the others
    assert len(loaded) > 50 and not [path for path in of_the_system if DISPLAY.search(path)]
