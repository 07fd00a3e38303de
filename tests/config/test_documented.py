"""The configuration files, and every command of the documentation."""

import pytest
import yaml
from helpers.commands import SCRIPTS, documented
from helpers.paths import REPOSITORY

from reid_dcs import list_models
from reid_dcs.config import (
    SETTINGS,
    SearchRun,
    compose,
    read_config,
)

CONFIGS = REPOSITORY / "configs"

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("datasets/*.md")]
    + [*REPOSITORY.glob("tools/*.py"), *REPOSITORY.glob("reid_dcs/models/found/*.yaml")]
    + [*CONFIGS.rglob("*.yaml")]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_documented_command_has_valid_settings(page, monkeypatch, capsys):
    from reid_dcs.cli import main

    monkeypatch.chdir(REPOSITORY)
    for command, arguments in documented(page):
        main([*command.split(), *arguments, "--settings"])
        compose(SETTINGS[command], yaml.safe_load(capsys.readouterr().out))


def test_the_documented_commands_are_found():
    found = [command for page in PAGES for command, _ in documented(page)]
    assert {command: found.count(command) > 2 for command in SCRIPTS.values()} == {
        command: True for command in SCRIPTS.values()
    }
    for file in CONFIGS.rglob("*.yaml"):
        assert any(str(file.relative_to(REPOSITORY)) in line for _, line in documented(file)), file


def test_every_row_of_every_table_composes_and_is_a_model():
    files = sorted((CONFIGS / "ablation").glob("*.yaml"))
    assert files
    for file in files:
        config = compose(SearchRun, read_config(file))
        layer = file.stem == "market1501_claim_small"  # has the rows of market1501_claim
        assert config.ablation.rows or layer, file
        for row, settings in config.ablation.rows.items():
            changes = {key: value for key, value in settings.items() if key != "paper"}
            assert compose(SearchRun, changes).model.name in list_models(), f"{file}: {row}"


def test_no_two_configurations_differ_in_a_line():
    texts = {
        file: [line for line in file.read_text().splitlines() if not line.startswith("#")]
        for file in CONFIGS.rglob("*.yaml")
    }
    for first, lines in texts.items():
        for second, others in texts.items():
            if first < second and len(lines) == len(others):
                differing = sum(a != b for a, b in zip(lines, others, strict=True))
                assert differing > 1, f"{first} and {second}"
