"""Command line parsers: flags, settings, one-line errors."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from reid_dcs.config import (
    as_layer,
    compose,
    merge_layers,
    parse_overrides,
    read_config,
    to_yaml,
)
from reid_dcs.config.layers import has_setting
from reid_dcs.errors import InputError

Flag = tuple[str, str, str]
"""A flag, the setting that it is short for, its help text."""

_FLAGS: Sequence[Flag] = (
    ("--model", "model.name", "network, such as mobilenetv2_dcs or torchreid's osnet_x1_0"),
    ("--dataset", "data.name", "data set, such as synthetic or market1501"),
    ("--root", "data.root", "folder that contains the data set"),
    ("--output-dir", "output_dir", "folder for the results"),
)

_SETTINGS_HELP = """\
Settings are read in this order, a later value wins: the defaults, every --config-file, the flags,
every key=value. --settings prints them all; reid_dcs/config/settings.py explains each."""

file_or_folder = os.path.expanduser  # the argparse type of a path: the shell leaves --root=~/x


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit with status 2.

    Args:
        prog: name of the command, such as ``reid-dcs train``.
        description: first line of ``--help``.
        options: of :class:`argparse.ArgumentParser`.
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
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def carry_out(self, action: Callable[[], object], debug: bool) -> None:
        """Call ``action``; an :class:`InputError` becomes one line and status 2."""
        rank = os.environ.get("RANK", "0")  # of a process started by torchrun
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        try:
            action()
            sys.stdout.flush()
        except InputError as error:
            if debug:
                traceback.print_exc()
            where = f" (rank {rank})" if several else ""
            self.exit(2, f"error{where}: {' '.join(str(error).split())}\n")
        except KeyboardInterrupt as stop:
            number = getattr(stop, "number", signal.SIGINT)
            self.exit(128 + number, f"{stop or 'interrupted'}\n" if rank == "0" else None)
        except BrokenPipeError:  # the reader of the output has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.exit(128 + signal.SIGPIPE)


class PictureParser(Parser):
    """A parser with the arguments of every command that draws trained networks on images."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description)
        self.add_argument(
            "--weights",
            action="append",
            required=True,
            type=file_or_folder,
            metavar="FILE",
            help="checkpoint, or name of the model zoo; a column for each",
        )
        self.add_argument(
            "--images",
            nargs="+",
            required=True,
            type=file_or_folder,
            metavar="PATH",
            help="files, or folders of them",
        )
        self.add_argument(
            "--output-dir", dest="output", required=True, type=file_or_folder, metavar="DIR"
        )
        self.add_argument("--model", help="network, if the weights do not say it")
        self.add_debug()

    def run(self, arguments: Sequence[str], action: Callable[..., object]) -> None:
        """Parse the arguments, and call ``action`` with them as keywords."""
        given = vars(self.parse_args(arguments))
        debug = given.pop("debug")
        self.carry_out(lambda: action(**given), debug)


class SettingsParser(Parser):
    """A parser of the settings of a command.

    Args:
        prog: name of the command.
        description: first line of ``--help``.
        kind: the settings class; a setting that it does not have is refused.
        flags: short for settings, before those that all commands share.
        switches: flags without a value that set a setting to true.
        words: positional arguments, as keywords of ``add_argument``; a ``dest`` that is a setting
            sets it.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        kind: type,
        flags: Sequence[Flag] = (),
        switches: Sequence[Flag] = (),
        words: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(prog, description, epilog=_SETTINGS_HELP)
        self.kind = kind
        for word in words:
            self.add_argument(**word)
        self.words = [word["dest"] for word in words]
        self.add_argument(
            "--config-file",
            metavar="FILE",
            action="append",
            default=[],
            help="YAML file of settings; may be repeated",
        )
        for flag, setting, text in (*flags, *_FLAGS):
            if has_setting(kind, setting) and setting not in self.words:
                text = f"{text} ({setting})"
                self.add_argument(flag, dest=setting, metavar="VALUE", help=text)
        for flag, setting, text in switches:
            text = f"{text} ({setting}=true)"
            self.add_argument(flag, dest=setting, action="store_const", const="true", help=text)
        self.add_argument(
            "--settings", action="store_true", help="print every setting as YAML, and exit"
        )
        self.add_debug()
        self.add_argument("overrides", nargs="*", metavar="key=value", help="any setting")

    def run(self, arguments: Sequence[str], action: Callable[..., object]) -> None:
        """Parse the arguments, and call ``action(layer, **words)``.

        ``words`` are the positional arguments that are not settings.
        """
        given = vars(self.parse_intermixed_args(arguments))
        words = {key: given[key] for key in self.words if not has_setting(self.kind, key)}

        def carry_out() -> None:
            layer = self._layer(given)
            if given["settings"]:
                print(to_yaml(compose(self.kind, layer)), end="")
            else:
                action(layer, **words)

        self.carry_out(carry_out, given["debug"])

    def _layer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Merge the files, then the flags, then the overrides."""
        files = [
            as_layer(self.kind, read_config(path), f"configuration file {path}")
            for path in given["config_file"]
        ]
        flags = [
            f"{setting}={value}"
            for setting, value in given.items()
            if value is not None and has_setting(self.kind, setting)
        ]
        line = parse_overrides(self.kind, [*flags, *given["overrides"]])
        return merge_layers(*files, as_layer(self.kind, line))
