"""Output folder of a run: one writer, which moves and overwrites only what a run has written."""

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from reid_dcs.config import TaskRun, to_yaml
from reid_dcs.engine.checkpoint import BEST, CHECKPOINT, PREVIOUS
from reid_dcs.engine.events import SUFFIX
from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, exclusive, remove_leftovers, write_json, written_whole
from reid_dcs.runtime import distributed
from reid_dcs.runtime.environment import environment
from reid_dcs.runtime.precision import Precision

SETTINGS_FILES = ("config.yaml", "environment.json")
CHECKPOINTS = (CHECKPOINT, PREVIOUS, BEST)
TRAINING_FILES = (*SETTINGS_FILES, *CHECKPOINTS, "metrics.json", "curves.png")
"""Names of the files that a training writes, besides TensorBoard events."""

_LIST, _LOCK = "reid_dcs_files.json", ".reid-dcs.lock"
_OTHERS = (  # what commands wrote before there were lists
    "windows.json",
    "architecture.json",
    "worth.json",
    "cmc.png",
    "ranks.png",
    "report.html",
    "features-*.npz",
    "events.out.tfevents.*",
)


class OutputFolder:
    """Output folder, which only this run writes to, as a context manager.

    An existing folder is locked at once, so that its checkpoint can be read; a new one is created
    and locked by :meth:`open`. Rank 0 holds the lock. ``reid_dcs_files.json`` lists the files that
    runs have written: no other file is moved or overwritten.

    Args:
        path: the folder.

    Raises:
        InputError: another run writes to it, or the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = ExitStack()
        self._is_locked = False

    def __enter__(self) -> "OutputFolder":
        if distributed.is_main() and self.path.is_dir():
            self._acquire()
        distributed.gathered(None)  # the other ranks go on if rank 0 has the lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.close()

    def open(self, files: Iterable[str], *, fresh: bool = False, resumed: bool = False) -> Path:
        """Create the folder if necessary, and enter the files of this run in the list.

        Args:
            files: names of the files that this run may write.
            fresh: the run starts from scratch; move files of an earlier run to
                ``earlier-<number>/``.
            resumed: the run continues from a checkpoint in this folder, so that the files are
                those of a run, even if a version without lists wrote them.

        Returns:
            the path of the folder.

        Raises:
            InputError: the folder cannot be written to, another run writes to it, or there is a
                file of one of these names that no run has written.
        """
        if not distributed.is_main():
            return self.path
        try:
            create_folder(self.path)
            self._acquire()
            remove_leftovers(self.path)
            listed = self._listed().union(files if resumed else ())
            results = {*CHECKPOINTS, "metrics.json"} & listed
            if fresh and any((self.path / name).exists() for name in results):
                self._move_aside(listed, last=results)
                listed = set()
            self._refuse_to_overwrite(set(files) - listed)
            write_json(self.path / _LIST, {"files": sorted(listed.union(files))})
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {error.strerror}") from error
        return self.path

    def check(self, files: Iterable[str], resumed: bool = False) -> None:
        """Check that :meth:`open` will not refuse to overwrite a file, before a long computation.

        Raises:
            InputError: it will, or a file has the name of the folder.
        """
        if self.path.is_file():
            raise InputError(f"cannot write to {self.path}: it is a file, not a folder")
        if distributed.is_main() and self.path.is_dir():
            self._refuse_to_overwrite(set(files) - self._listed().union(files if resumed else ()))

    def _acquire(self) -> None:
        if self._is_locked:
            return
        try:
            self._is_locked = self._lock.enter_context(exclusive(self.path / _LOCK))
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {error.strerror}") from error
        if not self._is_locked:
            raise InputError(
                f"another run is writing to {self.path}: wait for its end, or choose another "
                "folder with --output-dir"
            )

    def _listed(self) -> set[str]:
        """Names of the files here that runs have written."""
        try:
            names = json.loads((self.path / _LIST).read_text(encoding="utf-8"))["files"]
            return {name for name in names if Path(name).name == name}
        except FileNotFoundError:
            return self._unlisted_of_a_run()
        except OSError as error:
            raise InputError(f"cannot read {self.path / _LIST}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{self.path / _LIST} is damaged: move it away, or choose another folder with "
                "--output-dir"
            ) from error

    def _unlisted_of_a_run(self) -> set[str]:
        """Names that runs of versions without lists gave, if such a run was here."""
        try:
            written = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            if not {"reid_dcs", "command", "packages"} <= {*written}:
                return set()
        except (OSError, ValueError, TypeError, RecursionError):
            return set()
        found = {path.name for pattern in _OTHERS for path in self.path.glob(pattern)}
        return {*TRAINING_FILES} | found

    def _refuse_to_overwrite(self, names: set[str]) -> None:
        foreign = sorted(name for name in names if os.path.lexists(self.path / name))
        if foreign:
            raise InputError(
                f"{self.path} holds {', '.join(foreign)}, which no run has written there and this "
                "one would overwrite: move away what is yours, or choose another folder with "
                "--output-dir"
            )

    def _move_aside(self, listed: set[str], last: set[str]) -> None:
        """Move files to a new folder; if that is interrupted, the next run moves the rest."""
        events = {path.name for path in self.path.glob(f"events.out.tfevents.*{SUFFIX}")}
        number = 1
        while os.path.lexists(aside := self.path / f"earlier-{number}"):
            number += 1
        aside.mkdir()
        for name in [*sorted((listed | events) - last), *sorted(last), _LIST]:
            if (self.path / name).is_file():
                (self.path / name).rename(aside / name)


def write_settings(output: Path, config: TaskRun, precision: Precision) -> None:
    """Write ``config.yaml`` (settings) and ``environment.json`` (versions, device, precision).

    ``metrics.json`` is removed first: beside these settings it would say that the run is finished.
    """
    if not distributed.is_main():
        return
    (output / "metrics.json").unlink(missing_ok=True)
    with written_whole(output / "config.yaml") as file:
        file.write(to_yaml(config).encode())
    write_json(output / "environment.json", environment(precision))
