"""Times of pictures: read from names, tables and the command line, and printed."""

import re
from datetime import UTC, datetime

from reid_dcs.errors import InputError

UNKNOWN = -(2**62)
"""Time of a picture that has none; earlier than every other."""
_FROM_START = 10 * 365 * 86_400_000  # ms; a smaller time counts from the start of a video
_STAMP = re.compile(
    r"(?<!\d)(?P<year>19\d\d|20\d\d)[-_.]?(?P<month>[01]\d)[-_.]?(?P<day>[0-3]\d)[-_ T]?"
    r"(?P<hour>[0-2]\d)[-_.:h]?(?P<minute>[0-5]\d)[-_.:m]?(?P<second>[0-5]\d)(?!\d)"
)


_DATE_DIGITS = re.compile(r"((?:19|20)[0-9]{6})([0-9]{4}|[0-9]{6})?")
"""A date of digits alone, and hour, minute and second if they are given."""


def time_in_name(name: str) -> int | None:
    """The date and time in a file name, such as ``c3_2026-05-31_18-30-05.jpg``, as UTC; or None."""
    found = _STAMP.search(name)
    if found is None:
        return None
    try:
        return _milliseconds(datetime(*map(int, found.groups())))  # type: ignore[arg-type]
    except ValueError:  # such as month 19
        return None


def begins_with_time(name: str) -> bool:
    """Whether a file name begins with a date and time, so that its first digits are a year."""
    return _STAMP.match(name) is not None and time_in_name(name) is not None


def parse_time(text: str, where: str) -> int:
    """Read ``2026-05-31T18:30``, ``2026-05-31``, or seconds since the start of a video.

    Args:
        text: a date and time of ISO 8601, UTC without an offset; or a number of seconds. Digits
            that would be a date (``20260531``, ``202605311830``) are none.
        where: for the error.

    Raises:
        InputError: it is neither.
    """
    digits = _DATE_DIGITS.fullmatch(text.strip())
    if digits:
        text = "T".join(filter(None, digits.groups()))
    elif "_" not in text:  # which a number of Python's may have, and a date of a file name
        try:
            seconds = float(text)
            if abs(seconds) < 1e14:
                return round(1000 * seconds)
        except ValueError:
            pass
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{where}: {text[:40]!r} is no time: write 2026-05-31T18:30:00, or seconds"
        ) from error


def format_time(time: int) -> str:
    """``2026-05-31 18:30:05``, or ``0:01:23.4`` from the start of a video; empty if unknown."""
    if time == UNKNOWN:
        return ""
    if 0 <= time < _FROM_START:
        seconds, tenths = divmod(time // 100, 10)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{tenths}"
    try:
        return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{time / 1000:.0f} s"


def _milliseconds(time: datetime) -> int:
    return round(1000 * (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
