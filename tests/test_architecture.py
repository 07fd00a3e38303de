"""The order of the rooms: a folder imports only from those above it (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import REPOSITORY

PACKAGE = REPOSITORY / "reid_dcs"
ROOMS = (
    "errors files config runtime attention losses evaluation weights zoo models data "
    "engine search inference visual report jobs runs gallery tasks cli"
).split()
LOOSE = {"errors.py", "__init__.py"}  # others are folders
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions and ``TYPE_CHECKING`` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in submodules)


def room(module: str) -> str:
    """``reid_dcs.data.store`` -> ``data``; of the package itself ``reid_dcs``."""
    return (module.split(".") + [""])[1] or module


def ours(path: Path) -> list[str]:
    return [name for name in imported(path) if name.split(".")[0] == "reid_dcs"]


def test_nothing_is_loose_at_the_top():
    assert {path.name for path in PACKAGE.glob("*.py")} == LOOSE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(path):
    here = room(module_name(path))
    if here == "reid_dcs":
        return  # the package itself gathers the public names
    for name in ours(path):
        assert room(name) in ROOMS, f"imports {name}: the package itself is above every room"
        assert ROOMS.index(room(name)) <= ROOMS.index(here), f"{here} imports {name}"


ATTENTION = sorted((PACKAGE / "attention").glob("*.py"))


@pytest.mark.parametrize("path", ATTENTION, ids=lambda path: path.name)
def test_attention_imports_torch_alone(path):
    allowed = {"torch", "reid_dcs"}
    standard = {"collections", "contextlib", "copy", "dataclasses", "functools", "math", "typing"}
    assert {name.split(".")[0] for name in imported(path)} <= allowed | standard
    assert all(room(name) == "attention" for name in ours(path))


@pytest.mark.parametrize("guest", ["gallery", "tasks"])
def test_no_room_of_reid_knows_a_guest(guest):
    for path in FILES:
        if room(module_name(path)) not in (guest, "cli"):
            assert guest not in {room(name) for name in ours(path)}, path


@pytest.mark.parametrize("shared", ["jobs", "tasks"])
def test_what_tasks_share_imports_neither_torchreid_nor_its_data(shared):
    """Apart from the models, which are entered in torchreid's, and of which one has its layers."""
    reached = {name for name in MODULES if room(name) == shared}
    left = list(reached)
    while left:
        name = left.pop()
        others = {*imported(MODULES[name])}
        outside = {other.split(".")[0] for other in others}
        assert "torchreid" not in outside or room(name) == "models", name
        # a package's face gathers its files; what is asked for is imported from them
        new = {each for each in others if each in MODULES and each not in reached}
        new = {each for each in new if MODULES[each].name != "__init__.py"}
        reached |= new
        left += new


def test_there_is_no_circle():
    """Files in the order of their imports: what is left over in the end imports itself."""
    needs = {
        name: {other for other in ours(path) if other != name and MODULES[other] != path}
        for name, path in MODULES.items()
    }
    # a package's face gathers its files, which never import the face itself
    while free := [name for name, others in needs.items() if not others]:
        for name in free:
            del needs[name]
        for others in needs.values():
            others.difference_update(free)
    assert not needs, f"circles among {sorted(needs)}"
