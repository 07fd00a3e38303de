"""Times of pictures: read from names and the command line, and printed."""

from datetime import UTC, datetime

import pytest

from reid_dcs.errors import InputError
from reid_dcs.gallery.times import UNKNOWN, format_time, parse_time, time_in_name


def milliseconds(*parts):
    return round(1000 * datetime(*parts, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "name",
    ["c3_2026-05-31_18-30-05.jpg", "20260531_183005.png", "x_20260531T183005_1.jpg"],
)
def test_a_date_and_time_in_a_name_is_read(name):
    assert time_in_name(name) == milliseconds(2026, 5, 31, 18, 30, 5)


@pytest.mark.parametrize(
    "name", ["0002_c1s1_000451_03.jpg", "20261931_183005.jpg", "120260531183005.jpg", "2026.jpg"]
)
def test_other_numbers_are_no_time(name):
    assert time_in_name(name) is None


def test_times_of_a_user_are_dates_or_seconds():
    assert parse_time("2026-05-31", "x") == milliseconds(2026, 5, 31)
    assert parse_time("2026-05-31T18:30+02:00", "x") == milliseconds(2026, 5, 31, 16, 30)
    assert parse_time("83.4", "x") == 83_400
    for text in ("yesterday", "nan", "1e300", ""):
        with pytest.raises(InputError, match="--since.*no time"):
            parse_time(text, "--since")


@pytest.mark.parametrize(
    "text, parts",
    [
        ("20260531", (2026, 5, 31)),
        (" 19990101 ", (1999, 1, 1)),
        ("202605311830", (2026, 5, 31, 18, 30)),
        ("20260531183005", (2026, 5, 31, 18, 30, 5)),
        ("20260531T1830", (2026, 5, 31, 18, 30)),
    ],
)
def test_digits_of_a_date_are_no_seconds(text, parts):
    assert parse_time(text, "x") == milliseconds(*parts)


@pytest.mark.parametrize("text", ["20261399", "20260531996000", "2026_05_31", "1_000"])
def test_digits_of_a_wrong_date_are_no_time(text):
    with pytest.raises(InputError, match="--since.*no time"):
        parse_time(text, "--since")


def test_other_numbers_are_seconds():
    for text in ("2026", "1780252205", "1780252205.25", "12345678", "20260531.0"):
        assert parse_time(text, "x") == 1000 * float(text)


def test_times_are_printed_as_dates_or_from_the_start_of_a_video():
    assert format_time(milliseconds(2026, 5, 31, 18, 30, 5)) == "2026-05-31 18:30:05"
    assert format_time(83_400) == "0:01:23.4"
    assert format_time(UNKNOWN) == ""
    assert format_time(2**62).endswith(" s")
