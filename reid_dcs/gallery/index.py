"""Bring a gallery up to date with files: new, changed and deleted ones, and no others."""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from reid_dcs.data.datasets.names import Ignored
from reid_dcs.errors import InputError
from reid_dcs.gallery.crops import Crop, whole
from reid_dcs.gallery.pictures import TEXT_LENGTHS, Picture, printable
from reid_dcs.gallery.relabel import Relabeler
from reid_dcs.gallery.sources import ignored_text, is_video
from reid_dcs.gallery.store import FileState, Store
from reid_dcs.inference.extractor import FeatureExtractor

WINDOW = 64
"""Files decoded ahead, and pictures of a batch."""
SETTLE = 4096
"""Pictures after which they are written to where they are searched faster."""
INCOMPLETE = 0  # modification time in a file's first row until all of its rows are stored
_SHOWN = 3

Reader = Callable[[Picture], Iterable[Crop]]
"""The people in a file."""


class Counts(NamedTuple):
    """What indexing did.

    Attributes:
        added: pictures stored, of new and changed files.
        unchanged: files left alone.
        removed: pictures removed, of deleted and changed files.
        failed: files that could not be read, with the reason.
        relabeled: pictures of other files that got the labels of a table.
    """

    added: int
    unchanged: int
    removed: int
    failed: list[str]
    relabeled: int = 0

    def __str__(self) -> str:
        text = f"{self.added:,} added, {self.unchanged:,} unchanged, {self.removed:,} removed"
        text += f", {self.relabeled:,} relabeled" if self.relabeled else ""
        return text + (f", {len(self.failed):,} unreadable" if self.failed else "")


class Indexer:
    """Stores the features of files.

    Args:
        store: the gallery.
        extractor: network of the gallery.
        reader: finds the people in a file.
        relabel: give the labels of the sources to files that are stored already, too.
    """

    def __init__(
        self, store: Store, extractor: FeatureExtractor, reader: Reader, relabel: bool = False
    ) -> None:
        self.store, self.extractor, self.reader = store, extractor, reader
        self.relabel, self.relabeler = relabel, Relabeler(store)
        self.added = self.unchanged = self.removed = self._unsettled = 0
        self.failed: list[str] = []

    def run(
        self,
        sources: Iterable[Picture],
        known: Mapping[str, Mapping[str, FileState]],
        total: int,
        junk: Collection[str] = (),
    ) -> None:
        """Index the sources that the gallery does not know as they are.

        Args:
            sources: the files.
            known: see :meth:`Store.files`; those that no longer exist are removed.
            total: number of sources, for the progress bar.
            junk: files of which nothing is kept.
        """
        left = dict(known)

        def changed() -> Iterator[tuple[Picture, Mapping[str, FileState]]]:
            for source in bar:
                states = left.pop(source.path, {})
                expected = source.size, source.modified, self.reader is whole
                if states and all(state[:3] == expected for state in states.values()):
                    self._unchanged(source, states)
                elif wrong := _unstorable(source):
                    self._fail(source, wrong)
                else:
                    yield source, states

        with tqdm(sources, "index", total, unit="file", leave=False, disable=None) as bar:
            pictures: list[tuple[Picture, Mapping[str, FileState]]] = []
            for source, states in changed():
                if is_video(source.path):
                    self._file(source, states, self.reader(source))
                    continue
                pictures.append((source, states))
                if len(pictures) == WINDOW:
                    self._window(pictures)
                    pictures = []
            self._window(pictures)
        self.relabeler.finish()
        gone = (states for path, states in left.items() if path in junk or _is_gone(path))
        self._remove([id for states in gone for id in states])
        self.store.settle()
        self.store.choose_index()
        for text in self.failed[:_SHOWN]:
            print(f"warning: not indexed: {printable(text)}", file=sys.stderr)
        if len(self.failed) > _SHOWN:
            print(f"warning: and {len(self.failed) - _SHOWN:,} more", file=sys.stderr)

    def counts(self) -> Counts:
        return Counts(self.added, self.unchanged, self.removed, self.failed, self.relabeler.count)

    def _unchanged(self, source: Picture, states: Mapping[str, FileState]) -> None:
        try:
            self.unchanged += not (self.relabel and self.relabeler.add(source, states))
        except OSError as error:
            self._fail(source, _reason(error))

    def _window(self, sources: Sequence[tuple[Picture, Mapping[str, FileState]]]) -> None:
        """Index files of pictures, decoded on all cores, in batches over several files."""

        def read(source: Picture) -> list[tuple[Picture, np.ndarray]] | str:
            try:
                return [(crop.picture, self._pixels(crop)) for crop in self.reader(source)]
            except OSError as error:
                return _reason(error)

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(read, [source for source, _ in sources]))
        batch: list[tuple[Picture, np.ndarray]] = []
        stale: list[str] = []
        for (source, states), people in zip(sources, found, strict=True):
            if isinstance(people, str):
                self._fail(source, people)
                people = []
            batch += people
            stale += set(states) - {picture.id for picture, _ in people}
            if len(batch) >= WINDOW:  # whole files: one that is stored is complete
                self._put(batch)
                batch = []
        self._put(batch)
        self._remove(stale)

    def _file(
        self, source: Picture, states: Mapping[str, FileState], crops: Iterable[Crop]
    ) -> None:
        """Index a file of many people, such as a video, in bounded memory.

        Its first row says that the file is incomplete until all others are stored; if the file
        cannot be read to its end, what was read is kept, and the next run reads it again.
        """
        complete = True

        def readable() -> Iterator[Crop]:
            nonlocal complete
            try:
                yield from crops
            except OSError as error:
                complete = False
                self._fail(source, _reason(error))

        remaining = readable()
        first: tuple[Picture, np.ndarray] | None = None
        stale = set(states)
        while batch := [(c.picture, self._pixels(c)) for c in islice(remaining, WINDOW)]:
            stale -= {picture.id for picture, _ in batch}
            if first is None:
                first = batch[0]
                batch[0] = replace(first[0], modified=INCOMPLETE), first[1]
            self._put(batch)
        if complete and first is not None:
            self._put([first])
            self.added -= 1
        self._remove(list(stale))

    def _pixels(self, crop: Crop) -> np.ndarray:
        """The crop at the network's input size: (height, width, 3) uint8, RGB."""
        return self.extractor.resize(crop.image)

    def _put(self, batch: Sequence[tuple[Picture, np.ndarray]]) -> None:
        if not batch:
            return
        vectors = self.extractor(self.extractor.normalize(pixels) for _, pixels in batch)
        self.store.put([picture for picture, _ in batch], vectors.numpy())
        self.added += len(batch)
        self._unsettled += len(batch)
        if self._unsettled >= SETTLE:
            self.store.settle()
            self._unsettled = 0

    def _remove(self, ids: Sequence[str]) -> None:
        self.store.remove(ids)
        self.removed += len(ids)

    def _fail(self, source: Picture, reason: str) -> None:
        self.failed.append(f"{source.path} ({reason})")


def _unstorable(source: Picture) -> str:
    """Why a path cannot be stored as text; empty if it can."""
    try:
        length = len(source.path.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    return "its path is too long" if length > TEXT_LENGTHS["path"] else ""


def _is_gone(path: str) -> bool:
    """Whether a file no longer exists; not because a folder cannot be read."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def check_some(sources: Iterable[Picture], place: object, ignored: Ignored) -> int:
    """Refuse to empty a gallery because a disk is not mounted; return the number of files.

    Args:
        place: of the files, for the error.
        ignored: the files that are not read, once the sources have been counted.

    Raises:
        InputError: there are no files.
    """
    total = sum(1 for _ in sources)
    if not total:
        others = ignored_text(ignored)
        raise InputError(
            f"no pictures in {place}{f' ({others})' if others else ''}: check the folder; "
            "nothing was removed"
        )
    return total


def check_readable(sources: Iterable[Picture], reader: Reader) -> None:
    """Refuse to begin a gallery with files of which none can be read.

    Raises:
        InputError: none can be read.
    """
    failed: list[str] = []
    for source in sources:
        try:
            next(iter(reader(source)), None)
        except OSError as error:
            failed.append(f"{source.path} ({_reason(error)})")
        else:
            return
    others = f", and {len(failed) - 1:,} more" if len(failed) > 1 else ""
    raise InputError(f"no picture can be read: {printable(failed[0])}{others}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
