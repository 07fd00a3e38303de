"""What the commands in tools/ share: flags, layers of configuration, one-line errors."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from omegaconf import OmegaConf

from reid_dcs.config import parse_overrides, read_config
from reid_dcs.errors import InputError
from reid_dcs.runtime.distributed import is_main, rank, world_size

# flag, the setting it is short for, what --help says of it
_SHORT = (
    ("--model", "model.name", "network, such as mobilenetv2_dcs or torchreid's osnet_x1_0"),
    ("--dataset", "data.name", "data set, such as synthetic or market1501"),
    ("--root", "data.root", "folder that holds the data set"),
    ("--output-dir", "output_dir", "folder for what the run writes"),
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; status 2 is a user's mistake."""

    def __init__(self, description: str, **options: Any) -> None:
        super().__init__(description=description, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see --help\n")

    def carry_out(self, action: Callable[[], object], debug: bool) -> None:
        """Call ``action``, and turn a user's mistake into status 2."""
        try:
            action()
            sys.stdout.flush()
        except InputError as error:
            if debug:
                traceback.print_exc()
            where = f" (rank {rank()})" if world_size() > 1 else ""
            self.exit(2, f"error{where}: {' '.join(str(error).split())}\n")
        except KeyboardInterrupt as stop:
            number = getattr(stop, "number", signal.SIGINT)
            self.exit(128 + number, f"{stop or 'interrupted'}\n" if is_main() else None)
        except BrokenPipeError:  # whoever read the output has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.exit(128 + signal.SIGPIPE)


class PictureCommand(Parser):
    """A parser of what all commands take that show what trained networks see in images."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.add_argument(
            "--weights",
            action="append",
            required=True,
            metavar="FILE",
            help="checkpoint, or name of the model zoo; of several, a column each",
        )
        self.add_argument(
            "--images", nargs="+", required=True, metavar="PATH", help="files, or folders of them"
        )
        self.add_argument("--output-dir", dest="output", required=True, metavar="DIR")
        self.add_argument("--model", help="network of files that do not say it")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def run(self, action: Callable[..., object]) -> None:
        """Parse, and call ``action`` with what is given, by name."""
        given = vars(self.parse_args())
        debug = given.pop("debug")
        self.carry_out(lambda: action(**given), debug)


class Command(Parser):
    """A parser whose flags become a layer of configuration.

    Args:
        description: first line of ``--help``.
        short: more flags that are short for a setting: ``(flag, setting, help)``.
        switches: flags without a value that turn a setting on, in the same way.
        words: what comes first on the line: ``(name, choices or None, help)``.
    """

    def __init__(
        self,
        description: str,
        short: Sequence[tuple[str, str, str]] = (),
        switches: Sequence[tuple[str, str, str]] = (),
        words: Sequence[tuple[str, Sequence[str] | None, str]] = (),
        **options: Any,
    ) -> None:
        super().__init__(description, **options)
        self.words = [name for name, *_ in words]
        for name, choices, text in words:
            self.add_argument(name, choices=choices, help=text)
        self.add_argument(
            "--config-file",
            metavar="FILE",
            action="append",
            default=[],
            help="YAML file of settings; of several the later ones win",
        )
        for flag, setting, text in (*short, *_SHORT):
            self.add_argument(flag, dest=setting, metavar="VALUE", help=f"{text} ({setting})")
        for flag, setting, text in switches:
            text = f"{text} ({setting}=true)"
            self.add_argument(flag, dest=setting, action="store_const", const=True, help=text)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        self.add_argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="any setting of reid_dcs/config.py, such as train.epochs=20",
        )

    def run(self, action: Callable[..., object]) -> None:
        """Parse, and call ``action(layer, *words)``."""
        arguments = self.parse_intermixed_args()
        words = [getattr(arguments, name) for name in self.words]
        self.carry_out(lambda: action(_layer(vars(arguments)), *words), arguments.debug)


def _layer(arguments: dict[str, Any]) -> dict[str, Any]:
    """The files, then the short flags, then the overrides."""
    layer = OmegaConf.merge({}, *map(read_config, arguments["config_file"]))
    for setting, value in arguments.items():
        if value is not None and (setting == "output_dir" or "." in setting):
            OmegaConf.update(layer, setting, value)
    layer = OmegaConf.merge(layer, parse_overrides(arguments["overrides"]))
    return OmegaConf.to_container(layer)
