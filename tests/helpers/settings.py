"""Settings as a command line of overrides gives them."""

import pytest

from reid_dcs import InputError
from reid_dcs.config import TrainRun, compose, parse_overrides


def given(*overrides, kind=TrainRun):
    """The settings that a command line of overrides gives."""
    return compose(kind, parse_overrides(kind, list(overrides)))


def refused(*overrides, kind=TrainRun):
    with pytest.raises(InputError) as error:
        given(*overrides, kind=kind)
    assert "\n" not in str(error.value)
    return str(error.value)
