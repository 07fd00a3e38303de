"""The commands that the documentation gives, and checks of a command's answer to a mistake."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = {
    "train_reid.py": "train",
    "search_reid.py": "search",
    "eval_reid.py": "eval",
    "prepare_data.py": "data",
}


def documented(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page that take settings: (command, arguments)."""
    text = re.sub(r"\\+\n#?\s*", " ", page.read_text())
    for script, line in re.findall(r"tools/(\w+\.py)((?: [^\n`]*)?)", text):
        line = line.split("#")[0].split(" ...")[0].rstrip(" ,.);")
        if script == "prepare_data.py" and not line:
            continue  # a mention, not a command: it needs arguments
        if script in SCRIPTS and (not line or line.startswith((" --", " check", " store"))):
            yield SCRIPTS[script], shlex.split(line)
    for command, line in re.findall(
        r"reid-dcs (classify (?:train|search|eval))((?: --[^\n`]*)?)", text
    ):
        yield command, shlex.split(line.split("#")[0].split(" ...")[0].rstrip(" ,.);"))


def assert_refused(result, *said):
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for part in said:
        assert part in lines[0]
