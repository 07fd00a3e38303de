"""Labels of a table that was added or corrected after its pictures had been indexed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid_dcs.gallery.pictures import Labels, Picture
from reid_dcs.gallery.sources import is_video
from reid_dcs.gallery.store import FileState, Store
from reid_dcs.gallery.times import UNKNOWN
from reid_dcs.gallery.video import frame_times

_BATCH = 1000


class Relabeler:
    """Replaces labels of stored pictures, which keep their features.

    Attributes:
        count: pictures whose labels were replaced.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.count = store, 0
        self._waiting: dict[str, Labels] = {}

    def add(self, source: Picture, states: Mapping[str, FileState]) -> bool:
        """Take the labels of a file for its pictures; whether any of them had others.

        Raises:
            OSError: the file is a video that cannot be opened.
        """
        times = {state.frame: source.time for state in states.values()}
        if is_video(source.path):
            start = 0 if source.time == UNKNOWN else source.time
            passed = frame_times(Path(source.path), times)
            times = {frame: start + passed[frame] for frame in times}
        wanted = {
            key: Labels(source.identity, source.camera, times[state.frame])
            for key, state in states.items()
        }
        others = {key: wanted[key] for key, state in states.items() if state.labels != wanted[key]}
        self._waiting |= others
        if len(self._waiting) >= _BATCH:
            self.finish()
        return bool(others)

    def finish(self) -> None:
        """Store what waits."""
        keys = list(self._waiting)
        for start in range(0, len(keys), _BATCH):
            found = self.store.get(keys[start : start + _BATCH])
            pictures = [
                replace(each.picture, **self._waiting[each.picture.id]._asdict()) for each in found
            ]
            self.store.put(pictures, np.stack([each.vector for each in found]))
            self.count += len(found)
        self._waiting = {}
