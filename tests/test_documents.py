"""What the pages say of each other: links lead somewhere, and the README's figures are measured."""

import re

import pytest
from helpers.paths import REPOSITORY

PAGES = sorted(
    page
    for folder in (".", "docs", "datasets", "benchmarks/results", "benchmarks/studies/results")
    for page in (REPOSITORY / folder).glob("*.md")
)
ROOMS = "benchmarks|configs|docs|reid_dcs|tests|tools"
NAMED = re.compile(rf"(?<![\w/])(?:{ROOMS})/[a-z0-9_./-]+\.[a-z]+\b")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(text: str) -> set[str]:
    """The headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page):
    for place, anchor in LINK.findall(page.read_text()):
        if ":" in place:
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), place
        assert not anchor or anchor in anchors(target.read_text()), f"{place}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_file_that_is_named_is_there(page):
    for name in NAMED.findall(page.read_text()):
        found = [folder for folder in (REPOSITORY, page.parent) if (folder / name).exists()]
        assert found, name


def test_the_readmes_results_are_those_of_the_results_page():
    readme, results = ((REPOSITORY / name).read_text() for name in ("README.md", "docs/results.md"))
    section = readme.split("\n## Results\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 3
    for row in rows:
        assert row in results, row
