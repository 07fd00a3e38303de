"""The exceptions for mistakes of the user."""


class InputError(Exception):
    """Invalid setting, path or file given by the user.

    The message is one line: what is wrong, where, and what to do. Commands print it as
    ``error: ...`` and exit with status 2.
    """


class OtherArchitecture(InputError):
    """Weights of another architecture than the one that they should have."""
