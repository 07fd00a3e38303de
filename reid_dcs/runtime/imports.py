"""Imports at first use, and code that runs once another package has been imported."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from reid_dcs.errors import InputError


def at_first_use(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that imports a public name when it is first used.

    Args:
        package: ``__name__`` of the package.
        modules: the module within the package that defines each name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def extra(module: str, name: str = "export") -> ModuleType:
    """Import a module of a package that only an extra of this package installs.

    Args:
        module: module to import.
        name: name of the extra, as in ``pip install -e ".[export]"``.

    Raises:
        InputError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise InputError(f'{package} is not installed: pip install -e ".[{name}]"') from error


def after_import(name: str, action: Callable[[], None]) -> None:
    """Call ``action`` once, right after ``name`` is imported; now, if it is imported already."""
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _AfterImport(name, action))


class _AfterImport:
    """A finder of one package, whose loader is followed by an action."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action = name, action

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)):
                return self._followed(spec)
        return None

    def _followed(self, spec: ModuleSpec) -> ModuleSpec:
        loader = spec.loader
        if loader is None:  # a namespace package executes nothing
            return spec
        execute = loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self.action()

        loader.exec_module = execute_and_act  # type: ignore[method-assign]  # of this loader only
        return spec
