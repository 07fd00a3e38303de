"""Command line parsers: flags, settings and errors of one line."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from reid_dcs.config import (
    as_layer,
    checked_path,
    compose,
    has_setting,
    merge_layers,
    parse_overrides,
    read_config,
    to_yaml,
)

Flag = tuple[str, str, str]
"""A flag, the setting it sets, and its help text."""

_FLAGS: Sequence[Flag] = (
    ("--model", "model.name", "network, such as mobilenetv2_dcs; docs/models.md lists them"),
    ("--dataset", "data.name", "data set, by its name in datasets/README.md"),
    ("--root", "data.root", "folder of the data set, or the one that contains it"),
    ("--output-dir", "output_dir", "folder for the results"),
)

_SETTINGS_HELP = """\
Later settings override earlier ones: the defaults, each --config-file, the flags, each key=value.
--settings prints all of them; {} describes each."""
_SETTINGS_FILE = "reid_dcs/config/settings.py"


def file_or_folder(text: str) -> str:
    """Argparse type of a path: expands ``~``, which shells do not in ``--root=~/x``."""
    return checked_path(text, "path")


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line with exit status 2.

    Args:
        prog: name of the command, such as ``reid-dcs train``.
        description: first line of ``--help``.
        options: keyword arguments of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, description: str, **options: Any) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see --help\n")

    def add_debug(self) -> None:
        """Add ``--debug``, which :func:`reid_dcs.cli.main` acts on."""
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def add_images(self) -> None:
        """Add ``--images`` and ``--output-dir``, the output."""
        self.add_argument(
            "--images",
            nargs="+",
            required=True,
            type=file_or_folder,
            metavar="PATH",
            help="image files or folders",
        )
        self.add_argument(
            "--output-dir", dest="output", required=True, type=file_or_folder, metavar="DIR"
        )


def choose(
    prog: str, description: str, kind: str, choices: Mapping[str, str], arguments: Sequence[str]
) -> str:
    """Parse the first argument, which names a sub-command.

    Args:
        prog, description: see :class:`Parser`.
        kind: ``command`` or ``action``, as the help calls the sub-commands.
        choices: a line of help for each name.
        arguments: the command line.
    """
    lines = (f"  {name:10} {text}" for name, text in choices.items())
    usage = f"\n{prog} {kind.upper()} --help describes one."
    parser = Parser(prog, description, epilog="\n".join([f"{kind}s:", *lines, usage]))
    parser.add_argument(kind, choices=choices, metavar=kind.upper(), help="listed below")
    return getattr(parser.parse_args(arguments[:1]), kind)


class PictureParser(Parser):
    """Parser of the commands that draw figures of trained networks on images."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description)
        self.add_argument(
            "--weights",
            action="append",
            required=True,
            type=file_or_folder,
            metavar="FILE",
            help="checkpoint, or name of the model zoo; repeat it to compare",
        )
        self.add_images()
        self.add_argument("--model", help="network, if the weights do not name it")
        self.add_debug()

    def run(self, arguments: Sequence[str], action: Callable[..., object]) -> None:
        """Parse the arguments and pass them to ``action`` as keyword arguments."""
        given = vars(self.parse_args(arguments))
        del given["debug"]
        action(**given)


class SettingsParser(Parser):
    """Parser of a command with settings.

    Args:
        prog: name of the command.
        description: first line of ``--help``.
        kind: settings class of the command.
        flags: flags besides those that all commands share, or in place of one of them.
        switches: flags without a value, which set a setting to true.
        positional: positional arguments, as keyword arguments of ``add_argument``; if ``dest``
            names a setting, they set it.
        options: flags that are not settings, with keyword arguments of ``add_argument``.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        kind: type,
        flags: Sequence[Flag] = (),
        switches: Sequence[Flag] = (),
        positional: Sequence[dict[str, Any]] = (),
        options: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        file = f"{kind.__module__.replace('.', '/')}.py"
        files = file if file == _SETTINGS_FILE else f"{file}, or {_SETTINGS_FILE},"
        super().__init__(prog, description, epilog=_SETTINGS_HELP.format(files))
        self.kind = kind
        for argument in positional:
            self.add_argument(**argument)
        self.positional = [argument["dest"] for argument in positional]
        options = options or {}
        self.options = [self.add_argument(flag, **options[flag]).dest for flag in options]
        self.add_argument(
            "--config-file",
            metavar="FILE",
            action="append",
            default=[],
            help="YAML file of settings; may be repeated",
        )
        for flag, setting, text in {flag[0]: flag for flag in (*_FLAGS, *flags)}.values():
            if has_setting(kind, setting) and setting not in self.positional:
                text = f"{text} ({setting})"
                self.add_argument(flag, dest=setting, metavar="VALUE", help=text)
        for flag, setting, text in switches:
            text = f"{text} ({setting}=true)"
            self.add_argument(flag, dest=setting, action="store_const", const="true", help=text)
        self.add_argument(
            "--settings", action="store_true", help="print all settings as YAML and exit"
        )
        self.add_debug()
        self.add_argument(
            "overrides",
            nargs="*",
            default=[],  # without one, argparse says that they are required
            metavar="key=value",
            help="any setting",
        )

    def run(self, arguments: Sequence[str], action: Callable[..., object]) -> None:
        """Parse the arguments and call ``action(layer, **others)``.

        ``layer`` holds the settings, ``others`` the arguments that are not settings.
        """
        given = vars(self.parse_intermixed_args(arguments))
        others = {
            key: given[key]
            for key in (*self.positional, *self.options)
            if not has_setting(self.kind, key)
        }
        layer = self._layer(given)
        if given["settings"]:
            print(to_yaml(compose(self.kind, layer)), end="")
        else:
            action(layer, **others)

    def _layer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Merge files, flags and overrides, in this order."""
        files = [
            as_layer(self.kind, read_config(path), f"configuration file {path}")
            for path in given["config_file"]
        ]
        flags = [
            f"{setting}={value}"
            for setting, value in given.items()
            if value is not None and has_setting(self.kind, setting)
        ]
        overrides = parse_overrides(self.kind, [*flags, *given["overrides"]])
        return merge_layers(*files, as_layer(self.kind, overrides))
