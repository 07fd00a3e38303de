"""The one exception for mistakes that the user can mend."""


class InputError(Exception):
    """Something the user gave is wrong: data, a setting, weights or a folder.

    Its message is one line that says what is wrong, where, and what to do. The commands in
    tools/ print it as ``error: ...`` and leave with status 2.
    """
