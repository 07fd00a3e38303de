"""What OmegaConf needs: the errors that it raises, and text that it would interpolate."""

import re
from collections.abc import Mapping
from typing import Any

from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

UNREADABLE = (  # what OmegaConf and PyYAML raise for text and values that do not fit
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


def escaped(value: Any) -> Any:
    """Escape ``${``, which OmegaConf would interpolate, and the backslashes before it."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: escaped(below) for key, below in value.items()}
    return [escaped(below) for below in value] if isinstance(value, list | tuple) else value


def first_line(error: Exception) -> str:
    """The first line of an error's text; of YAML that cannot be read, where and why."""
    if isinstance(error, RecursionError):
        return "too many levels of nested values"
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
