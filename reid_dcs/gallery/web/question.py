"""The question of a page, which is wholly in its address: pages can be kept, shared and gone back
to, and the server remembers nothing but uploaded pictures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from reid_dcs.errors import InputError
from reid_dcs.gallery.filters import conditions
from reid_dcs.gallery.times import parse_time

TOP = 24
MOST_HITS = 200
MOST_MARKS = 200
KEY = re.compile("[0-9a-f]{32}")
"""Of a picture of the gallery, and of uploaded ones."""
_LONGEST = 256  # characters of a text


@dataclass(frozen=True)
class Question:
    """What is asked, and what was marked.

    Attributes:
        like: keys of pictures that show the person.
        upload: key of uploaded pictures of the person; empty if there are none.
        same, other: keys of pictures that were marked as the same person, as another one.
        asked: keys of marked pictures that take part in the question: it also averages those that
            are in ``same``, and its answer leaves out all of them.
        camera, not_camera, since, until: filters; empty if there are none.
        top: number of hits.
    """

    like: tuple[str, ...] = ()
    upload: str = ""
    same: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    camera: str = ""
    not_camera: str = ""
    since: str = ""
    until: str = ""
    top: int = TOP

    @classmethod
    def read(cls, parameters: Sequence[tuple[str, str]]) -> "Question":
        """Read the parameters of an address; unknown ones are ignored.

        Raises:
            InputError: a value is not valid.
        """
        given: dict[str, Any] = {}
        for name, value in parameters:
            if name in ("like", "same", "other", "asked"):
                _check(bool(KEY.fullmatch(value)), name)
                if value not in given.setdefault(name, []):
                    given[name].append(value)
                _check(len(given[name]) <= MOST_MARKS, name)
            elif name == "upload":
                _check(not value or bool(KEY.fullmatch(value)), name)
                given[name] = value
            elif name in ("camera", "not_camera", "since", "until"):
                _check(len(value) <= _LONGEST, name)
                given[name] = value
            elif name == "top":
                _check(value.isascii() and value.isdigit() and len(value) < 6, name)
                given[name] = max(1, min(MOST_HITS, int(value)))
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        return cls(**values)

    @property
    def is_empty(self) -> bool:
        return not (self.like or self.upload)

    @property
    def positives(self) -> tuple[str, ...]:
        """Keys of the pictures whose features are averaged, besides the uploaded ones."""
        return (*self.like, *(key for key in self.same if key in self.asked))

    @property
    def where(self) -> str:
        """The filter of the search.

        Raises:
            InputError: a time is not valid.
        """
        return conditions(
            not_camera=self.not_camera or None,
            camera=self.camera or None,
            since=parse_time(self.since, "since") if self.since else None,
            until=parse_time(self.until, "until") if self.until else None,
        )

    def mark(self, key: str, as_: str) -> "Question":
        """Mark a picture as ``same`` or ``other``; the same mark again removes it.

        A picture without a mark no longer takes part in the question.
        """
        had = key in getattr(self, as_)
        marks: dict[str, Any] = {
            name: tuple(other for other in getattr(self, name) if other != key)
            for name in ("same", "other")
        }
        if had:
            marks["asked"] = tuple(other for other in self.asked if other != key)
        else:
            marks[as_] = (*marks[as_], key)
        return replace(self, **marks)

    def ask_again(self) -> "Question":
        """The question with all marks taking part."""
        return replace(self, asked=(*self.same, *self.other))

    def instead(self, key: str) -> "Question":
        """The same filters, and a picture of the gallery as the question."""
        kept = {name: getattr(self, name) for name in _FILTERS}
        return Question(like=(key,), **kept)

    def url(self, page: str = "/") -> str:
        pairs = []
        for field in fields(self):
            value = getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            pairs += [(field.name, each) for each in values if each not in ("", field.default)]
        return f"{page}?{urlencode(pairs)}" if pairs else page

    def hidden(self) -> list[tuple[str, str]]:
        """Fields of a form that changes the filters alone."""
        names = ("like", "upload", "same", "other", "asked")
        values = ((name, getattr(self, name)) for name in names)
        return [
            (name, each)
            for name, value in values
            for each in (value if isinstance(value, tuple) else (value,))
            if each
        ]


_FILTERS = ("camera", "not_camera", "since", "until", "top")


def _check(valid: bool, name: str) -> None:
    if not valid:
        raise InputError(f"the address has a wrong {name}: start again from the first page")
